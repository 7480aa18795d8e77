"""Learning rate of an iteration: mmcv's policies as pure functions of the position.

No state: what a resumed run needs is the iteration number. Meaning of the settings as in mmcv's
``LrUpdaterHook`` (by_epoch True: the annealed rate changes once an epoch, warm-up every iteration).
"""

from __future__ import annotations

import math

from pftrack.training.settings import ScheduleSettings


def learning_rate(
    schedule: ScheduleSettings,
    base_lr: float,
    iteration: int,
    iters_per_epoch: int,
    max_epochs: int,
) -> float:
    """Learning rate used in ``iteration`` (counted from 0 over the whole training).

    Args:
        base_lr: the parameter group's peak rate.
        iters_per_epoch, max_epochs: the planned length.
    """
    if schedule.by_epoch:
        progress, total = iteration // iters_per_epoch, max_epochs
    else:
        progress, total = iteration, iters_per_epoch * max_epochs
    rate = _annealed(schedule, base_lr, progress, total)
    warmup_iters = schedule.warmup_iters * (iters_per_epoch if schedule.warmup_by_epoch else 1)
    if schedule.warmup is None or iteration >= warmup_iters:
        return rate
    return rate * _warmup_factor(schedule.warmup, iteration / warmup_iters, schedule.warmup_ratio)


def _annealed(schedule: ScheduleSettings, base_lr: float, progress: int, total: int) -> float:
    if schedule.policy == "step":
        return _step(schedule, base_lr, progress)
    if schedule.policy == "CosineAnnealing":
        if schedule.min_lr_ratio is not None:
            target = base_lr * schedule.min_lr_ratio
        else:
            target = schedule.min_lr or 0.0
        return target + 0.5 * (base_lr - target) * (math.cos(math.pi * progress / total) + 1.0)
    return base_lr


def _step(schedule: ScheduleSettings, base_lr: float, progress: int) -> float:
    """One number: a drop every so many; several: a drop at each."""
    if len(schedule.step) == 1:
        drops = progress // schedule.step[0]
    else:
        drops = sum(progress >= at for at in schedule.step)
    return max(base_lr * schedule.gamma**drops, schedule.min_lr or 0.0)


def _warmup_factor(kind: str, done: float, ratio: float) -> float:
    """Factor on the rate when the fraction ``done`` of the warm-up has passed."""
    if kind == "constant":
        return ratio
    if kind == "exp":
        return ratio ** (1.0 - done)
    return 1.0 - (1.0 - done) * (1.0 - ratio)
