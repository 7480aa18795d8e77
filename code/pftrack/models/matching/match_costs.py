"""What it costs to match a prediction to a ground truth."""

from __future__ import annotations

import torch
from torch import Tensor

from pftrack.errors import UserError
from pftrack.registry import MODELS
from pftrack.values import NotNegative, Share


@MODELS.register_module(name="FocalLossCost")
class FocalLossCost:
    """Change of the focal loss when a class becomes the target (Deformable DETR).

    Args:
        weight: factor.  alpha, gamma: of the focal loss.  eps: added inside the logarithms.
    """

    def __init__(
        self,
        weight: NotNegative = 1.0,
        alpha: Share = 0.25,
        gamma: NotNegative = 2.0,
        eps: NotNegative = 1e-12,
    ) -> None:
        self.weight, self.alpha, self.gamma, self.eps = weight, alpha, gamma, eps

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Costs [..., N, G] of logits [..., N, C] and labels [G]."""
        p = logits.sigmoid()
        negative = -(1 - p + self.eps).log() * (1 - self.alpha) * p.pow(self.gamma)
        positive = -(p + self.eps).log() * self.alpha * (1 - p).pow(self.gamma)
        return (positive - negative)[..., labels] * self.weight


@MODELS.register_module(name="BBox3DL1Cost")
class BBox3DL1Cost:
    """L1 distance of regression codes.

    Args:
        weight: factor.
    """

    def __init__(self, weight: NotNegative = 1.0) -> None:
        self.weight = weight

    def __call__(self, codes: Tensor, target_codes: Tensor) -> Tensor:
        """Costs [..., N, G] of codes [..., N, k] and targets [G, k]."""
        return torch.cdist(codes, target_codes.expand(*codes.shape[:-2], -1, -1), p=1) * self.weight


@MODELS.register_module(name="IoUCost")
class IoUCost:
    """Named by configurations with weight 0; boxes are matched by class and L1 distance only."""

    def __init__(self, weight: float = 0.0) -> None:
        if weight:
            raise UserError(f"iou_cost has weight {weight}: 3D IoU is no match cost here, set 0")
