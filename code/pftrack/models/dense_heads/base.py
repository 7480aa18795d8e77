"""What detection heads share: their output, the branches on every query, the output shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pftrack.errors import UserError
from pftrack.geometry import lidar_motion
from pftrack.models.acceleration import full_precision
from pftrack.models.box_coder import refine_code
from pftrack.models.layers.mlp import mlp
from pftrack.stated import accept
from pftrack.structures import FramePose

CLS_PRIOR = 0.01


@dataclass
class Past:
    """What a head sees of the frame before.

    Attributes:
        memory: what it returned there, [B, ...] each.
        motion: [B, 4, 4] float32, points (m) of that frame's lidar frame to this one's.
        begins: [B] bool, True: there was no frame before, and the rest is without meaning; None:
            there was one.
    """

    memory: dict[str, Tensor]
    motion: Tensor
    begins: Tensor | None = None

    @classmethod
    def recall(
        cls, memory: dict[str, Tensor] | None, frame: FramePose | None, next_frame: FramePose
    ) -> Past | None:
        """Of one frame, for the next; None: nothing was remembered, or the sequence begins."""
        if memory is None or frame is None:
            return None
        with full_precision(frame.l2g):
            return cls(memory, lidar_motion(frame.l2g, next_frame.l2g))

    @staticmethod
    def cat(pasts: Sequence[Past | None]) -> Past | None:
        """Of several samples as one batch; None where they have none."""
        known = [past for past in pasts if past is not None]
        if not known:
            return None
        names = known[0].memory
        return Past(
            {name: torch.cat([past.memory[name] for past in known]) for name in names},
            torch.cat([past.motion for past in known]),
        )


@dataclass
class HeadOutput:
    """Predictions of all L decoder layers for N queries.

    Attributes:
        all_cls_scores: [L, B, N, C] logits.
        all_bbox_preds: [L, B, N, 10] (cx, cy, log w, log l, cz, log h, sin rot, cos rot, vx, vy),
            centres in metres in the lidar frame.
        query_feats: [B, N, D] the last layer's features.
        reference_points: [B, N, 3] the last layer's centres, normalised by pc_range.
        memory: [B, ...] each: what the head wants to see again at the next frame, as
            :class:`Past`; None: nothing.
    """

    all_cls_scores: Tensor
    all_bbox_preds: Tensor
    query_feats: Tensor
    reference_points: Tensor
    memory: dict[str, Tensor] | None = None

    def split(self) -> list[HeadOutput]:
        """The outputs of every sample on its own, B = 1."""
        parts = zip(
            self.all_cls_scores.split(1, dim=1),
            self.all_bbox_preds.split(1, dim=1),
            self.query_feats.split(1),
            self.reference_points.split(1),
            strict=True,
        )
        outputs = [HeadOutput(*part) for part in parts]
        for b, output in enumerate(outputs):
            if self.memory is not None:
                output.memory = {name: v[b : b + 1] for name, v in self.memory.items()}
        return outputs


def cls_branch(embed_dims: int, num_classes: int, num_fcs: int = 2) -> nn.Sequential:
    """:func:`mlp` whose last bias starts at a prior of :data:`CLS_PRIOR`."""
    branch = mlp(embed_dims, num_classes, num_fcs)
    output = branch[-1]
    assert isinstance(output, nn.Linear)
    nn.init.constant_(output.bias, -math.log((1 - CLS_PRIOR) / CLS_PRIOR))
    return branch


def reg_branch(embed_dims: int, code_size: int, num_fcs: int = 2) -> nn.Sequential:
    """:func:`mlp` without normalisation."""
    return mlp(embed_dims, code_size, num_fcs, norm=False)


def refine_fp32(
    raw: Tensor, reference_points: Tensor, pc_range: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """:func:`refine_code` in float32 whatever autocast says: positions need the digits."""
    with full_precision(raw):
        return refine_code(raw.float(), reference_points.float(), pc_range)


def check_stated(head: str, stated: dict[str, Any]) -> None:
    """Accept settings of published configurations that have no effect in a head: losses, assignment
    and box selection belong to the tracker.

    Args:
        head: its name, for messages.  stated: the settings.

    Raises:
        UserError: an unknown setting, or a value that asks for something else.
    """
    accept(stated, head, "pts_bbox_head")


def head_pc_range(
    head: str, pc_range: Sequence[float] | None, stated: dict[str, Any]
) -> list[float]:
    """``pc_range``, or where published configurations have it: the box coder's."""
    pc_range = pc_range or (stated.get("bbox_coder") or {}).get("pc_range")
    if pc_range is None:
        raise UserError(f"{head} needs pc_range, of its own or in its bbox_coder")
    return list(pc_range)
