"""Focal and L1 loss with the calling convention of mmdet's, so that either can be configured."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pftrack.errors import UserError
from pftrack.registry import MODELS
from pftrack.values import NotNegative, Share


def _reduce(
    loss: Tensor,
    weight: Tensor | None,
    avg_factor: Tensor | float | None,
    reduction_override: str | None,
) -> Tensor:
    """Weighted sum over ``avg_factor``, the plain mean without one; "none": every element."""
    if weight is not None:
        loss = loss * weight
    if reduction_override == "none":
        return loss
    return loss.mean() if avg_factor is None else loss.sum() / avg_factor


@MODELS.register_module(name="FocalLoss")
class FocalLoss(nn.Module):
    """Sigmoid focal loss (Lin et al., 2017): (1 - p_t)^gamma * alpha_t * BCE.

    Args:
        use_sigmoid: stated by configurations; the only kind here.
        gamma, alpha: as in the paper.  loss_weight: factor.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: NotNegative = 2.0,
        alpha: Share = 0.25,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__()
        if not use_sigmoid:
            raise UserError("FocalLoss(use_sigmoid=False) does not exist: set use_sigmoid=True")
        self.gamma, self.alpha, self.loss_weight = gamma, alpha, loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Loss of logits [n, C] and labels [n] int64, where the label C is background: a scalar, or
        with ``reduction_override="none"`` [n, C]."""
        classes = torch.arange(pred.shape[-1], device=pred.device)
        one_hot = (target[..., None] == classes).to(pred)
        p = pred.sigmoid()
        wrongness = (1 - p) * one_hot + p * (1 - one_hot)
        balance = self.alpha * one_hot + (1 - self.alpha) * (1 - one_hot)
        loss = F.binary_cross_entropy_with_logits(pred, one_hot, reduction="none")
        loss = loss * balance * wrongness.pow(self.gamma)
        if weight is not None:
            weight = weight[..., None]
        return self.loss_weight * _reduce(loss, weight, avg_factor, reduction_override)


@MODELS.register_module(name="L1Loss")
class L1Loss(nn.Module):
    """Absolute difference.

    Args:
        loss_weight: factor.
    """

    def __init__(self, loss_weight: NotNegative = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Loss of tensors of one shape: a scalar, or with ``reduction_override="none"`` their
        shape."""
        loss = torch.abs(pred - target)
        return self.loss_weight * _reduce(loss, weight, avg_factor, reduction_override)
