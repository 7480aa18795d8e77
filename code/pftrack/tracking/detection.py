"""Single-frame detection with a tracker's head: for mAP and NDS, all ten classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pftrack.models.box_coder import denormalize_bbox
from pftrack.structures import FrameBatch


@torch.no_grad()
def detect_frame(
    model: Any, frame: FrameBatch, max_num: int = 300
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Boxes of one frame from the detection queries alone, without memory of other frames.

    As DETR-style detectors are evaluated: the ``max_num`` best (query, class) pairs, no
    suppression, centres inside the coder's post range.

    Args:
        model: a :class:`Cam3DTracker`.
        frame: B = 1, normalised, on the model's device.

    Returns:
        boxes [n, 9] (legacy, lidar frame), scores [n], labels [n], on the host; and how many
        queries were left out because their numbers are not finite.
    """
    output = model.detect(model.extract_feats(frame.img), frame, model.with_detection_queries(None))
    scores = output.all_cls_scores[-1, 0].float().sigmoid()
    boxes = denormalize_bbox(output.all_bbox_preds[-1, 0].float())
    finite = scores.isfinite().all(-1) & boxes.isfinite().all(-1)
    scores = torch.where(finite[:, None], scores, -1.0)
    # To topk, NaN is the best of all.
    best, index = scores.flatten().topk(min(max_num, scores.numel()))
    boxes = boxes[index // scores.shape[-1]]
    low, high = boxes.new_tensor(model.bbox_coder.post_center_range).view(2, 3)
    inside = ((boxes[:, :3] >= low) & (boxes[:, :3] <= high)).all(-1) & (best >= 0)
    labels = index % scores.shape[-1]
    return boxes[inside].cpu(), best[inside].cpu(), labels[inside].cpu(), int((~finite).sum())
