"""The tracker's memory: one record of tensors, one row per instance.

Positions called ``reference_points``, ``hist_xyz`` and ``fut_xyz`` are normalised by ``pc_range``;
``bboxes`` are regression codes (see :mod:`box_coder`) in metres; both in the lidar frame of the
frame the instances belong to. N instances, D embedding width, C classes, H history frames (oldest
first), F future steps.

Of the fields of the original only those that something reads are kept: it also shifts positions'
embeddings, boxes, scores and logits of history, and embeddings, scores and logits of the future.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

NO_OBJECT = -1
GONE = -2  # carries the id of an object that is not in this frame's ground truth


@dataclass
class TensorRecord:
    """Tensors (or records of tensors) that share their first dimension."""

    def select(self, index: Tensor) -> Self:
        """The rows that ``index`` (int64 [n] or bool [N]) picks."""
        return type(self)(**{k: _select(v, index) for k, v in self._items()})

    @classmethod
    def cat(cls, records: Sequence[Self]) -> Self:
        """Rows of all records, in order."""
        return cls(**{k: _cat([getattr(r, k) for r in records]) for k, _ in records[0]._items()})

    def where(self, mask: Tensor, other: Self) -> Self:
        """Rows of this record where ``mask`` [N], of ``other`` elsewhere."""
        return type(self)(**{k: _where(mask, v, getattr(other, k)) for k, v in self._items()})

    def replace(self, **changes: object) -> Self:
        """A copy with some fields exchanged."""
        return replace(self, **changes)

    def _items(self) -> list[tuple[str, Any]]:
        return [(f.name, getattr(self, f.name)) for f in fields(self)]


def _select(value: Any, index: Tensor) -> Any:
    return value.select(index) if isinstance(value, TensorRecord) else value[index]


def _where(mask: Tensor, value: Any, other: Any) -> Any:
    if isinstance(value, TensorRecord):
        return value.where(mask, other)
    return torch.where(mask.view(-1, *[1] * (value.dim() - 1)), value, other)


def _cat(values: Sequence[Any]) -> Any:
    first = values[0]
    return type(first).cat(values) if isinstance(first, TensorRecord) else torch.cat(list(values))


@dataclass
class Estimate(TensorRecord):
    """What is believed of each instance.

    Attributes:
        reference_points: [N, 3].  query_embeds: [N, D] position part of the query.
        query_feats: [N, D] content part.  logits: [N, C].  bboxes: [N, 10].  scores: [N].
        motion_predictions: [N, F, 3] displacement of each following step, m (x, y are used).
    """

    reference_points: Tensor
    query_embeds: Tensor
    query_feats: Tensor
    logits: Tensor
    bboxes: Tensor
    scores: Tensor
    motion_predictions: Tensor


@dataclass
class TrackInstances(TensorRecord):
    """Detection queries and live tracks of one frame.

    Attributes:
        state: the estimate that lives on; between frame shift and summary the provisional one.
        cache: what this frame's images and reasoning say.
        hist_embeds: [N, H, D] query features.  hist_padding_masks: [N, H] True = empty.
        hist_xyz: [N, H, 3].
        fut_xyz: [N, F, 3].  fut_bboxes: [N, F, 10] forecast positions.
        obj_idxes: [N] int64: training: ground-truth id carried; tracking: track id; else -1.
        matched_gt_idxes: [N] int64 row of this frame's ground truth; -1 none, -2 object gone.
        disappear_time: [N] int64 frames since the score last exceeded the threshold.
        track_query_mask: [N] bool, born as a track.
    """

    state: Estimate
    cache: Estimate
    hist_embeds: Tensor
    hist_padding_masks: Tensor
    hist_xyz: Tensor
    fut_xyz: Tensor
    fut_bboxes: Tensor
    obj_idxes: Tensor
    matched_gt_idxes: Tensor
    disappear_time: Tensor
    track_query_mask: Tensor

    @classmethod
    def empty(
        cls,
        reference_points: Tensor,
        query_embeds: Tensor,
        query_feats: Tensor,
        num_classes: int,
        hist_len: int,
        fut_len: int,
        code_size: int = 10,
    ) -> TrackInstances:
        """Fresh detection queries.

        Args:
            reference_points: [N, 3].  query_embeds, query_feats: [N, D].
        """
        n, dims = query_feats.shape

        def zeros(*shape: int) -> Tensor:
            return reference_points.new_zeros((n, *shape))

        def integers(value: int) -> Tensor:
            return torch.full((n,), value, dtype=torch.long, device=reference_points.device)

        blank = Estimate(
            reference_points=zeros(3),
            query_embeds=zeros(dims),
            query_feats=zeros(dims),
            logits=zeros(num_classes),
            bboxes=zeros(code_size),
            scores=zeros(),
            motion_predictions=zeros(fut_len, 3),
        )
        state = blank.replace(
            reference_points=reference_points, query_embeds=query_embeds, query_feats=query_feats
        )
        return cls(
            state=state,
            cache=blank,
            hist_embeds=zeros(hist_len, dims),
            hist_padding_masks=torch.ones(
                n, hist_len, dtype=torch.bool, device=reference_points.device
            ),
            hist_xyz=zeros(hist_len, 3),
            fut_xyz=zeros(fut_len, 3),
            fut_bboxes=zeros(fut_len, code_size),
            obj_idxes=integers(NO_OBJECT),
            matched_gt_idxes=integers(NO_OBJECT),
            disappear_time=integers(0),
            track_query_mask=torch.zeros(n, dtype=torch.bool, device=reference_points.device),
        )

    def __len__(self) -> int:
        return len(self.obj_idxes)

    @property
    def labels(self) -> Tensor:
        """[N] int64 the likeliest class."""
        return self.state.logits.argmax(-1)

    @property
    def finite(self) -> Tensor:
        """[N] bool, no NaN or infinity among what was seen of it."""
        return self.hist_embeds.isfinite().flatten(1).all(1)
