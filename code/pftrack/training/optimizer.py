"""Optimiser and gradient scaler from the settings, on torch's own classes."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from pftrack.errors import UserError
from pftrack.training.settings import OptimizerSettings, ParamRule, TrainSettings


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Trainable parameters in one group per (lr, weight decay); fused where torch can.

    A rule applies to the parameters whose name contains its key, the longest key first, as mmcv's
    ``paramwise_cfg.custom_keys`` does. Each group keeps its peak rate in ``initial_lr``.
    """
    groups: dict[ParamRule, list[nn.Parameter]] = {}
    keys = sorted(sorted(settings.rules), key=len, reverse=True)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        key = next((k for k in keys if k in name), None)
        rule = settings.rules[key] if key else ParamRule()
        groups.setdefault(rule, []).append(parameter)
    if not groups:
        raise UserError("the model of this config has no trainable parameter")
    names = [name for name, _ in model.named_parameters()]
    unused = [key for key in keys if not any(key in name for name in names)]
    if unused:
        raise UserError(
            f"setting 'optimizer.paramwise_cfg.custom_keys.{unused[0]}' in the config matches no "
            "parameter of the model"
        )
    param_groups = [
        {
            "params": parameters,
            "lr": settings.lr * rule.lr_mult,
            "initial_lr": settings.lr * rule.lr_mult,
            "weight_decay": settings.weight_decay * rule.decay_mult,
        }
        for rule, parameters in groups.items()
    ]
    torch_class = getattr(torch.optim, settings.type)
    kwargs = dict(settings.kwargs)
    if "fused" in inspect.signature(torch_class).parameters:
        kwargs.setdefault("fused", True)
    return torch_class(param_groups, **kwargs)


class LossScaler:
    """torch's GradScaler; disabled (the identity) unless the precision is fp16.

    A number is where the scale begins: it shrinks and grows with the gradients. mmcv keeps it, but
    published trainings compute in float32 under it, whose gradients never overflow; in half
    precision a fixed 512 left out every step of some networks.
    """

    def __init__(self, settings: TrainSettings, device: torch.device) -> None:
        scale = settings.loss_scale
        kwargs: dict[str, Any] = {}
        if isinstance(scale, (int, float)):
            kwargs = {"init_scale": float(scale)}
        elif not isinstance(scale, str):
            kwargs = dict(scale)
        enabled = settings.precision == "fp16"
        self.scaler = torch.amp.GradScaler(device.type, enabled=enabled, **kwargs)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Optimiser step, left out by torch when a scaled gradient overflowed."""
        self.scaler.step(optimizer)
        self.skip()

    def skip(self) -> None:
        """End an iteration whose step was left out."""
        self.scaler.update()
