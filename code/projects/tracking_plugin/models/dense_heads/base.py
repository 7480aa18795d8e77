"""What a detection head returns to the tracker."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class HeadOutput:
    """Predictions of all L decoder layers for N queries.

    Attributes:
        all_cls_scores: [L, B, N, C] logits.
        all_bbox_preds: [L, B, N, 10] (cx, cy, log w, log l, cz, log h, sin rot, cos rot, vx, vy),
            centres in metres in the lidar frame.
        query_feats: [B, N, D] the last layer's features.
        reference_points: [B, N, 3] the last layer's centres, normalised by pc_range.
    """

    all_cls_scores: Tensor
    all_bbox_preds: Tensor
    query_feats: Tensor
    reference_points: Tensor
