"""Optimiser and gradient scaler from the settings, on torch's own classes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

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


def check_state(
    optimizer: torch.optim.Optimizer, saved: Mapping[str, Any], names: Mapping[nn.Parameter, str]
) -> None:
    """Compare a saved state with the parameters it is for: a fused step trusts shapes and types.

    Args:
        saved: what ``optimizer.state_dict()`` was.
        names: of the parameters, for the message.

    Raises:
        ValueError: it is for other parameters, or its values are not what this optimiser keeps.
    """
    groups, state = saved.get("param_groups"), saved.get("state")
    if not isinstance(groups, list) or not isinstance(state, Mapping):
        raise ValueError("no 'param_groups' and 'state'")
    parameters: dict[Any, nn.Parameter] = {}
    if len(groups) != len(optimizer.param_groups):
        raise ValueError(f"{len(groups)} groups of parameters, not {len(optimizer.param_groups)}")
    for group, ours in zip(groups, optimizer.param_groups, strict=True):
        numbers = group.get("params") if isinstance(group, Mapping) else None
        if not isinstance(numbers, list) or len(numbers) != len(ours["params"]):
            raise ValueError("a group of other parameters")
        parameters.update(zip(numbers, ours["params"], strict=True))
    if len(parameters) != sum(len(group["params"]) for group in optimizer.param_groups):
        raise ValueError("a parameter in two groups")
    expected = _kept_state(optimizer)
    counters: set[type] = set()
    for number, values in state.items():
        if number not in parameters or not isinstance(values, Mapping):
            raise ValueError(f"a state of parameter {number!r}, which there is not")
        parameter, name = parameters[number], names[parameters[number]]
        if set(values) != set(expected):
            raise ValueError(f"{name} has {sorted(map(str, values))}, not {sorted(expected)}")
        for key, by_element in expected.items():
            _check_value(name, key, values[key], parameter if by_element else None)
            if not by_element:
                counters.add(Tensor if isinstance(values[key], Tensor) else float)
    if len(counters) > 1:
        raise ValueError("numbers of steps of two kinds")


def _kept_state(optimizer: torch.optim.Optimizer) -> dict[str, bool]:
    """What the optimiser keeps of a parameter: name -> whether for each of its elements."""
    probe = nn.Parameter(torch.zeros(2))
    probe.grad = torch.zeros(2)
    takes = inspect.signature(type(optimizer)).parameters
    settings = {name: value for name, value in optimizer.defaults.items() if name in takes}
    twin = type(optimizer)([probe], **settings)
    twin.step()
    return {
        name: isinstance(value, Tensor) and value.shape == probe.shape
        for name, value in twin.state[probe].items()
        if value is not None
    }


def _check_value(name: str, key: str, value: Any, parameter: Tensor | None) -> None:
    """One value of a state, of the parameter's shape or (None) a number."""
    if parameter is None:
        number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        if not isinstance(number, int | float) or not 0 <= number < math.inf:
            raise ValueError(f"{key} of {name} is no number of steps")
        return
    if not isinstance(value, Tensor) or value.shape != parameter.shape:
        there = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{key} of {name} is {there}, not {list(parameter.shape)}")
    if not value.is_floating_point() or not value.isfinite().all():
        raise ValueError(f"{key} of {name} is not finite numbers")
    if key.endswith("_sq") and (value < 0).any():
        raise ValueError(f"{key} of {name} is negative")


def check_loss_scale(scale: Any) -> None:
    """Whether a ``loss_scale`` is one: a number above 0, 'dynamic', or torch's own settings.

    Raises:
        UserError: it is not.
    """
    numbers = scale.values() if isinstance(scale, Mapping) else [scale]
    if scale != "dynamic" and not all(
        type(number) in (int, float) and 0 < number < math.inf for number in numbers
    ):
        raise UserError(
            f"setting 'loss_scale' in the config: '{scale}' is neither a positive number nor "
            "'dynamic'"
        )
    if isinstance(scale, Mapping):
        try:
            torch.amp.GradScaler("cpu", **scale)
        except (TypeError, AssertionError) as error:
            raise UserError(f"setting 'loss_scale' in the config: {error}") from None


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
