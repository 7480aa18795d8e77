"""Golden files h_rules (how the original trains) and h_init (where it starts from)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from laboratory.parity.compare import GoldenFile, Row
from laboratory.parity.models import CONFIGS
from pftrack.config import load_config
from pftrack.registry import build_model
from pftrack.training.mm_config import read_settings
from pftrack.training.schedule import learning_rate

ITERATIONS = 100  # an epoch, of the file's learning rates
STANDARD_ERRORS = 6.0


def check_rules(golden: GoldenFile) -> Iterator[Row]:
    """h_rules: settings of every configuration, learning rates at the file's positions.

    Not the number of loader workers, which changes no number and is the machine's here.
    """
    for config, reference in golden.meta.items():
        cfg = load_config(f"{CONFIGS}/{config}.py")
        settings = read_settings(cfg)
        ours = {
            "epochs": settings.max_epochs,
            "samples_per_gpu": settings.samples_per_gpu,
            "optimizer": _plain(cfg.optimizer),
            "optimizer_config": _plain(cfg.optimizer_config),
            "lr_config": _plain(cfg.lr_config),
            "load_from": settings.load_from,
            "log_interval": settings.log_interval,
            "checkpoint_config": _plain(cfg.checkpoint_config),
            "evaluation_interval": settings.evaluation.interval,
            "find_unused_parameters": settings.find_unused_parameters,
            "gridmask": cfg.model.use_grid_mask,
        }
        for name, value in ours.items():
            yield Row(f"{config}.{name}", value, reference[name])
        table = np.array(reference["lr_at_100_iterations_an_epoch"])
        rates = [
            learning_rate(
                settings.schedule,
                settings.optimizer.lr,
                int(epoch) * ITERATIONS + int(iteration),
                ITERATIONS,
                settings.max_epochs,
            )
            for epoch, iteration, _ in table
        ]
        yield Row(f"{config}.lr", np.array(rates), table[:, 2], "rates")


def _plain(section: Any) -> Any:
    """A config section as the json has it."""
    if isinstance(section, Mapping):
        return {key: _plain(value) for key, value in section.items()}
    return [_plain(v) for v in section] if isinstance(section, (list, tuple)) else section


def check_init(golden: GoldenFile) -> Iterator[Row]:
    """h_init: mean, deviation and largest magnitude of every entry of an untrained model."""
    for config, reference in golden.meta.items():
        torch.manual_seed(0)
        state = build_model(load_config(f"{CONFIGS}/{config}.py").model).state_dict()
        yield Row(f"{config}.keys", sorted(state), sorted(reference))
        common = [key for key in reference if key in state]
        constant = [key for key in common if reference[key][1] == 0]
        drawn = [key for key in common if reference[key][1] > 0]
        ours = {key: entry_statistics(state[key]) for key in common}
        yield Row(
            f"{config}.constants",
            np.array([ours[key][:3] for key in constant]),
            np.array([reference[key][:3] for key in constant]),
            "geometry",  # a bias of -4.595 is stated in single precision
        )
        distances = np.array([standard_errors(ours[key], reference[key]) for key in drawn])
        outside = [key for key, d in zip(drawn, distances, strict=True) if d > STANDARD_ERRORS]
        yield Row(f"{config}.standard_errors", distances, np.zeros(len(drawn)), "shown")
        yield Row(f"{config}.outside_{STANDARD_ERRORS:g}_standard_errors", outside, [])


def entry_statistics(tensor: torch.Tensor) -> list[float]:
    """[mean, population standard deviation, largest magnitude, number of values]."""
    values = tensor.double().flatten()
    std = values.std(correction=0).item()
    return [values.mean().item(), std, values.abs().max().item(), float(values.numel())]


def standard_errors(ours: list[float], reference: list[float]) -> float:
    """How many standard errors two samples of one distribution are apart: in the mean or in the
    standard deviation (a normal one's), whichever is more. Infinite for another kind of
    distribution: the largest of many uniform numbers is the bound itself."""
    mean, std, largest, count = reference
    spread = math.sqrt((std**2 + ours[1] ** 2) / count)
    in_mean = abs(ours[0] - mean) / spread
    in_std = abs(ours[1] - std) / (spread / math.sqrt(2))
    if count >= 1000 and largest < 1.8 * std and ours[2] > 1.05 * largest:
        return math.inf
    return max(in_mean, in_std)
