"""The losses of many clips at once: every function's tensors have the batch in front.

B clips, N instances (Q detection queries, then tracks), G ground truths, L decoder layers, C
classes. The criterion is the model's own; :mod:`pftrack.models.losses.tracking_loss` says what it
computes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MATCHED_CODE_SIZE = 8
SMOOTH = 0.1  # m, below which the loss of a place is no longer a distance
# Of a class with a share p of the objects, the weight is p to the power of minus this.
BALANCE = 0.5


@torch.no_grad()
def matching_cost(
    criterion: Any, logits: Tensor, boxes: Tensor, codes: Tensor, labels: Tensor
) -> np.ndarray:
    """[L, B, Q, G], on the host, of logits [L, B, Q, C] and boxes [L, B, Q, 10]."""
    classes, distances = criterion.assigner.cls_cost, criterion.assigner
    k, eps, alpha, gamma = MATCHED_CODE_SIZE, classes.eps, classes.alpha, classes.gamma
    p = logits.float().sigmoid()
    negative = -(1 - p + eps).log() * (1 - alpha) * p.pow(gamma)
    positive = -(p + eps).log() * alpha * (1 - p).pow(gamma)
    index = labels.clamp(min=0)[None, :, None].expand(*logits.shape[:3], -1)
    cost = (positive - negative).gather(-1, index) * classes.weight
    distance = torch.cdist(boxes[..., :k].float(), codes[None, ..., :k].float(), p=1)
    cost = cost + distance * distances.reg_cost.weight
    return cost.nan_to_num(100.0, 100.0, -100.0).cpu().numpy()


def detection_losses(
    criterion: Any,
    logits: Tensor,
    boxes: Tensor,
    rows: Tensor,
    codes: Tensor,
    labels: Tensor,
    present: Tensor | None,
) -> dict[str, Tensor]:
    """The decoder's losses by name, of rows [L, B, N]; see :func:`set_losses`."""
    count = positives(rows)
    factor = count.mean(1, keepdim=True).expand_as(count)
    cls, box = set_losses(criterion, logits, boxes, rows, codes, labels, present, factor)
    last = len(logits) - 1
    losses = {}
    for layer in range(last + 1):
        prefix = "" if layer == last else f"d{layer}."
        losses[f"{prefix}loss_cls"], losses[f"{prefix}loss_bbox"] = cls[layer], box[layer]
    return losses


def set_losses(
    criterion: Any,
    logits: Tensor,
    boxes: Tensor,
    rows: Tensor,
    codes: Tensor,
    labels: Tensor,
    present: Tensor | None,
    box_factor: Tensor,
) -> tuple[Tensor, Tensor]:
    """Class and box losses [L] of logits [L, B, N, C] and boxes [L, B, N, 10].

    Args:
        rows: [L, B, N] the ground truth of an instance, -1 for none.
        codes: [B, G, 10].  labels: [B, G].
        present: [B, N] bool, False where an instance is padding; None: nowhere.
        box_factor: [L, B] what box losses are divided by.
    """
    layers = len(rows)
    found = rows >= 0
    index = rows.clamp(min=0)
    target = labels[None].expand(layers, -1, -1).gather(2, index)
    target = torch.where(found, target, -1)
    focal = criterion.loss_cls
    classes = torch.arange(logits.shape[-1], device=logits.device)
    one_hot = (target[..., None] == classes).float()
    logits = logits.float()
    p = logits.sigmoid()
    wrongness = (1 - p) * one_hot + p * (1 - one_hot)
    balance = focal.alpha * one_hot + (1 - focal.alpha) * (1 - one_hot)
    cls = F.binary_cross_entropy_with_logits(logits, one_hot, reduction="none")
    cls = (cls * balance * wrongness.pow(focal.gamma)).sum(-1)
    if present is not None:
        cls = cls * present
    cls = cls.sum(-1) / positives(rows).clamp(min=1)
    wanted = (
        codes[None]
        .expand(layers, -1, -1, -1)
        .gather(2, index[..., None].expand(-1, -1, -1, codes.shape[-1]))
    )
    known = found & wanted.isfinite().all(-1)
    wanted = torch.where(known[..., None], wanted, 0.0)
    weight = known[..., None] * criterion.code_weights
    box = ((boxes.float() - wanted).abs() * weight).sum((-1, -2)) / box_factor.clamp(min=1)
    return focal.loss_weight * cls.mean(1), criterion.loss_bbox.loss_weight * box.mean(1)


def step_loss(steps: Tensor, true: Tensor, seen: Tensor, carriers: Tensor) -> Tensor:
    """The published loss of forecasts: L1 distance of the steps.

    Args:
        steps, true: [B, M, F, 2] m.  seen: [B, M, F] bool.
        carriers: [B] how many instances of a clip carry an id.
    """
    error = ((steps - true).abs() * seen[..., None]).sum((1, 2, 3))
    return (error / (carriers * 2.0 * steps.shape[2])).mean()


def place_loss(
    steps: Tensor,
    true: Tensor,
    seen: Tensor,
    offset: Tensor,
    labels: Tensor,
    classes: int,
    near: float = 0.0,
) -> Tensor:
    """Mean distance between an object's future places and those that a forecast leads to.

    Args:
        steps, true: [B, M, F, 2] m.  seen: [B, M, F] bool.
        offset: [B, M, 2] m, where the forecast begins, from where the object is.
        labels: [B, M] of the objects; classes count alike as :func:`class_weights` says.
        near: step k counts 1 / (1 + near * k), k = 0 the first.
    """
    apart = offset[:, :, None] + (steps - true).cumsum(2)
    known = seen.cumprod(2)
    weight = known / (1 + near * torch.arange(steps.shape[2], device=steps.device))
    distance = (apart.square().sum(-1) + SMOOTH**2).sqrt() * weight
    each = distance.sum(2) / weight.sum(2).clamp(min=1e-6)
    counted = known[..., 0] > 0
    labels = torch.where(counted, labels, -1)
    balance = class_weights(labels, classes)
    return (each * balance[labels] * counted).sum() / counted.sum().clamp(min=1)


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """[C] factors of samples by their ``labels`` [...], -1 for none: rare classes count more
    (:data:`BALANCE`)."""
    counts = (labels.flatten()[:, None] == torch.arange(classes, device=labels.device)).sum(0)
    return (counts.sum() / counts.clamp(min=1) / classes) ** BALANCE


def positives(rows: Tensor) -> Tensor:
    """[L, B] how many instances stand for a ground truth."""
    return (rows >= 0).sum(-1).float()
