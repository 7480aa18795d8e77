"""Where a track looked: its attention over cameras and over its own past."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pftrack.models.layers.attention import record_attention
from pftrack.models.layers.detr3d_attention import (
    Detr3DCrossAtten,
    project_to_cameras,
)
from pftrack.models.trackers.life_cycle import TrackOutput
from pftrack.models.trackers.tracker import Cam3DTracker
from pftrack.structures import FrameBatch


@dataclass
class TrackAttention:
    """One track in one frame.

    Attributes:
        cameras: [V] share of the last decoder layer's cross-attention that each camera gets.
        maps: [V, h, w] the same by feature pixel (PETR heads), sum 1; of a head that sees several
            frames the sum over them; None for DETR3D heads, which
            look at one point of each camera.
        past: [H] share of each history frame, oldest first, in past reasoning; None without.
        future: [F, H] the same for each forecast step; None without.
    """

    cameras: Tensor
    maps: Tensor | None = None
    past: Tensor | None = None
    future: Tensor | None = None


@dataclass
class Watch:
    """Call it with every frame that is tracked inside :func:`watch_attention`; it is made to be
    ``observe`` of :meth:`Tracker.step`.

    Attributes:
        frames: one dictionary per frame: track id ("<sequence>-<id>") -> attention.
    """

    _records: tuple[dict[str, list[Tensor]], ...]
    _gates: list[Tensor]
    _head_frames: int = 1
    frames: list[dict[str, TrackAttention]] = field(default_factory=list)

    def __call__(self, output: TrackOutput, frame: FrameBatch) -> None:
        """Note the attention that led to what was reported for ``frame``."""
        pixels, past, future = (_take(records) for records in self._records)
        gates = self._gates.pop() if self._gates else None
        height, width = frame.img.shape[-2:]
        views = (self._head_frames, frame.img.shape[1], height, width)
        self.frames.append(_collect(output, pixels, gates, past, future, views))


@contextmanager
def watch_attention(model: Cam3DTracker) -> Iterator[Watch]:
    """Record attention while ``model`` tracks::

        with watch_attention(tracker.model) as watch:
            tracker.step(frame, observe=watch)

    Slower and larger while watched: the weights of the last decoder layers are computed explicitly.
    """
    head = model.pts_bbox_head.transformer.decoder.layers[-1].attentions[1]
    reasoner = model.STReasoner
    past = _last_cross_attention(reasoner, "hist_temporal_transformer")
    future = _last_cross_attention(reasoner, "fut_temporal_transformer")
    gates: list[Tensor] = []
    with (
        record_attention(head) as pixels,
        record_attention(past or nn.Identity()) as past_weights,
        record_attention(future or nn.Identity()) as future_weights,
    ):
        hook = None
        if isinstance(head, Detr3DCrossAtten):
            hook = head.register_forward_hook(
                lambda module, args, kwargs, _out: gates.append(_gates(module, *args, **kwargs)),
                with_kwargs=True,
            )
        try:
            frames = getattr(model.pts_bbox_head, "frames", 1)
            yield Watch((pixels, past_weights, future_weights), gates, frames)
        finally:
            if hook is not None:
                hook.remove()


def _last_cross_attention(reasoner: nn.Module, name: str) -> nn.Module | None:
    transformer = getattr(reasoner, name, None)
    return None if transformer is None else transformer.decoder.layers[-1].attentions[1]


def _take(records: dict[str, list[Tensor]]) -> Tensor | None:
    """The last call's weights, averaged over heads: [B, N, S]; forgets them all."""
    weights = None
    for calls in records.values():
        if calls:
            weights = calls[-1].mean(1).cpu()
            calls.clear()
    return weights


@torch.no_grad()
def _gates(
    module: Detr3DCrossAtten,
    query: Tensor,
    query_pos: Tensor | None,
    feats: Any,
    reference_points: Tensor,
    lidar2img: Tensor,
    img_shape: tuple[int, int],
) -> Tensor:
    """DETR3D's gates [N, V], summed over levels, zero where the point is out of view."""
    logits = module.attention_weights(query if query_pos is None else query + query_pos)
    gates = logits.sigmoid().unflatten(-1, (module.num_cams, module.num_levels)).sum(-1)
    _, visible = project_to_cameras(reference_points.float(), lidar2img, img_shape, module.pc_range)
    return (gates.float() * visible.transpose(1, 2))[0].cpu()


def _maps(weights: Tensor, frames: int, cameras: int, height: int, width: int) -> Tensor:
    """[V, h, w] of weights [frames * V * h * w], for images of ``height`` x ``width``."""
    pixels = weights.unflatten(0, (frames, cameras, -1)).sum(0)
    stride = round((height * width / pixels.shape[-1]) ** 0.5)
    return pixels.unflatten(-1, (height // stride, -1))


def _collect(
    output: TrackOutput,
    pixels: Tensor | None,
    gates: Tensor | None,
    past: Tensor | None,
    future: Tensor | None,
    views: tuple[int, int, int, int],
) -> dict[str, TrackAttention]:
    result = {}
    for (sequence, number), row in zip(output.obj_ids, output.rows.tolist(), strict=True):
        if pixels is not None:
            maps = _maps(pixels[0, row], *views)
            cameras = maps.sum((-2, -1))
        else:
            assert gates is not None
            maps, cameras = None, gates[row] / gates[row].sum().clamp(min=1e-9)
        result[f"{sequence}-{number}"] = TrackAttention(
            cameras=cameras,
            maps=maps,
            past=None if past is None else past[row, 0],
            future=None if future is None else future[row],
        )
    return result
