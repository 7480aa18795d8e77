"""What all parts share: the device, the size of the work, and the form of a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmcv import Config

from pftrack import models  # noqa: F401 (registers the components)
from pftrack.config import load_config
from pftrack.models.trackers.tracker import Cam3DTracker
from pftrack.registry import build_model

CONFIGS = Path("projects/configs/tracking")


@dataclass(frozen=True)
class Setting:
    """Where a check runs.

    Attributes:
        device: the GPU, or the CPU.
        small: demo configurations and few repetitions, to walk through every part on a CPU.
    """

    device: torch.device
    small: bool = False

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def synchronize(self) -> None:
        """Wait for what the device was asked to do."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def repetitions(self, wanted: int) -> int:
        """``wanted``, or the fewest with which a part still means something."""
        return min(wanted, 3) if self.small else wanted


@dataclass
class Result:
    """What a part found.

    Attributes:
        values: numbers and short texts, for the JSON file and the table.
        problems: what is wrong, one line each; empty: the part passes.
    """

    values: dict[str, Any]
    problems: list[str] = field(default_factory=list)

    def demand(self, holds: bool, problem: str) -> None:
        """Note ``problem`` unless it holds."""
        if not holds:
            self.problems.append(problem)


Part = Callable[[Setting], Result]


def configuration(name: str) -> Config:
    """A configuration by its name below :data:`CONFIGS`, e.g. petr/f1_q500_800x320."""
    return load_config(CONFIGS / f"{name}.py")


def image_size(cfg: Config) -> tuple[int, int]:
    """(height, width) that the network of a configuration sees."""
    height, width = cfg.data.train.ida_aug_conf.final_dim
    return int(height), int(width)


def seeded_model(cfg: Config, setting: Setting) -> Cam3DTracker:
    """The configuration's model with the same random weights every time, on the device."""
    torch.manual_seed(0)
    with setting.device:  # drawing a hundred million weights on the CPU takes seconds
        return build_model(cfg.model)


def free_memory(setting: Setting) -> None:
    """Give cached memory back and forget the peak."""
    if setting.on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(setting.device)


def peak_gib(setting: Setting) -> float | None:
    """Peak of allocated GPU memory since :func:`free_memory`, GiB; None on a CPU."""
    return torch.cuda.max_memory_allocated(setting.device) / 2**30 if setting.on_gpu else None


def milliseconds(seconds: float) -> float:
    return round(1e3 * seconds, 2)
