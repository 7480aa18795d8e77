"""Boxes as the network regresses them, and which of them leave it.

The regression code of a box has ten entries,

    (cx, cy, log w, log l, cz, log h, sin rot, cos rot, vx, vy)

with the centre in metres (lidar frame) outside the network. Inside, a centre is refined relative to
a reference point that is normalised by ``pc_range``: see :func:`refine_code`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pftrack.geometry import constant, denormalize_points
from pftrack.registry import MODELS
from pftrack.values import AtLeastOne, Range, Threshold, check_range

CODE_SIZE = 10
CODE_CENTER = (0, 1, 4)  # where cx, cy, cz stand in the code


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """log(x / (1 - x)) with both terms clamped to [eps, 1]."""
    return torch.log(x.clamp(eps, 1.0) / (1 - x).clamp(eps, 1.0))


def code_centers(code: Tensor) -> Tensor:
    """Centres [..., 3] of codes [..., 10]."""
    return torch.stack([code[..., i] for i in CODE_CENTER], dim=-1)


def with_centers(code: Tensor, centers: Tensor) -> Tensor:
    """Codes [..., 10] with their centres replaced by [..., 3]; a new tensor."""
    x, y, z = centers.unbind(-1)
    columns = [x, y, code[..., 2], code[..., 3], z, *code[..., 5:].unbind(-1)]
    return torch.stack(columns, dim=-1)


def refine_code(
    raw: Tensor, reference_points: Tensor, pc_range: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Turn a regression branch's output into a code, relative to reference points.

    Args:
        raw: [..., 10], centre entries as offsets in the inverse sigmoid's space.
        reference_points: [..., 3] normalised.

    Returns:
        codes [..., 10] with centres in metres and the new reference points [..., 3], normalised.
    """
    centers = torch.sigmoid(code_centers(raw) + inverse_sigmoid(reference_points))
    return with_centers(raw, denormalize_points(centers, pc_range)), centers


def normalize_bbox(boxes: Tensor) -> Tensor:
    """Boxes [..., 9] (x, y, z, w, l, h, rot, vx, vy) as codes [..., 10]."""
    x, y, z, w, l, h, rot, *velocity = boxes.unbind(-1)  # noqa: E741  (the field's name for it)
    columns = [x, y, w.log(), l.log(), z, h.log(), rot.sin(), rot.cos(), *velocity]
    return torch.stack(columns, dim=-1)


def denormalize_bbox(code: Tensor) -> Tensor:
    """Codes [..., 10] as boxes [..., 9]; inverse of :func:`normalize_bbox` for rot in (-pi, pi]."""
    x, y, w, l, z, h, sin, cos, *velocity = code.unbind(-1)  # noqa: E741
    columns = [x, y, z, w.exp(), l.exp(), h.exp(), torch.atan2(sin, cos), *velocity]
    return torch.stack(columns, dim=-1)


@MODELS.register_module(name=["BoxCoder", "TrackNMSFreeCoder", "NMSFreeCoder"])
@dataclass
class BoxCoder:
    """Which instances of a frame are reported: the best ``max_num`` inside the post range.

    Args:
        pc_range: metres, the normalised coordinates' box.
        post_center_range: boxes with a centre outside of it are not reported.
        max_num: most boxes of a frame.
        num_classes: number of classes.
        score_threshold: only scores above it are reported, beside the run-time tracker's
            ``output_threshold``.
        voxel_size: stated by configurations of the original, without effect.
    """

    pc_range: Range = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
    post_center_range: Range = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)
    max_num: AtLeastOne = 300
    num_classes: AtLeastOne = 10
    voxel_size: Sequence[float] | None = None
    score_threshold: Threshold | None = None

    def __post_init__(self) -> None:
        check_range("pc_range of the box coder", self.pc_range)
        check_range("post_center_range of the box coder", self.post_center_range)

    def rank(
        self, centers: Tensor, scores: Tensor, output_threshold: float
    ) -> tuple[Tensor, Tensor]:
        """The best instances, of which some are reported.

        Args:
            centers: [N, 3] m.  scores: [N]; a negative one is never reported.
            output_threshold: only scores above it are reported.

        Returns:
            rows [n] of the best by falling score, n up to ``max_num``, and whether each is
            reported [n] bool.
        """
        best, rows = scores.topk(min(self.max_num, len(scores)))
        limits = constant(tuple(self.post_center_range), centers.dtype, centers.device)
        low, high = limits.view(2, 3)
        centers = centers[rows]
        inside = ((centers >= low) & (centers <= high)).all(-1)
        return rows, inside & (best > max(output_threshold, self.score_threshold or 0.0))
