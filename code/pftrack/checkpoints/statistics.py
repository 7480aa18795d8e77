"""Numbers about weights: sizes and norms by module, what is broken, what changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def module_of(key: str, depth: int = 1) -> str:
    """The first ``depth`` components of an entry's name."""
    return ".".join(key.split(".")[:-1][:depth]) or key


@dataclass
class ModuleStatistics:
    """One module's share of a checkpoint.

    Attributes:
        entries: number of state-dict entries.
        values: number of distinct numbers in them (tied entries count once).
        norm: L2 norm of all weights, without normalisation statistics.
        rms: root mean square of the same.
        largest: largest absolute value.
    """

    entries: int = 0
    values: int = 0
    norm: float = 0.0
    rms: float = 0.0
    largest: float = 0.0


@dataclass
class Health:
    """Entries that cannot be right or do nothing.

    Attributes:
        non_finite: entry -> number of NaN or infinite values.
        zero: weights (ndim >= 2) that are zero throughout.
        dead_rows: entry -> output channels whose weights are all zero.
        constant: weights (ndim >= 2) with one value throughout.
        bad_variance: running_var entries with negative values.
    """

    non_finite: dict[str, int] = field(default_factory=dict)
    zero: list[str] = field(default_factory=list)
    dead_rows: dict[str, int] = field(default_factory=dict)
    constant: list[str] = field(default_factory=list)
    bad_variance: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """No value is impossible. Zero weights are worth a look, not wrong by themselves."""
        return not (self.non_finite or self.bad_variance)


def _identity(value: Tensor) -> tuple[int, int, tuple[int, ...]]:
    return value.untyped_storage().data_ptr(), int(value.storage_offset()), tuple(value.shape)


def count_values(weights: Mapping[str, Tensor]) -> int:
    """Distinct numbers in a state dict; entries that share storage count once."""
    distinct = {_identity(v): v.numel() for v in weights.values() if v.numel()}
    return sum(distinct.values())


def by_module(weights: Mapping[str, Tensor], depth: int = 1) -> dict[str, ModuleStatistics]:
    """Statistics of every module, in the order of the file."""
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in weights.items():
        groups.setdefault(module_of(key, depth), {})[key] = value
    result = {}
    for module, entries in groups.items():
        learned = {
            _identity(v): v.float()
            for k, v in entries.items()
            if v.is_floating_point() and k.split(".")[-1] not in BUFFERS and v.numel()
        }
        square = sum(float(v.double().square().sum()) for v in learned.values())
        count = sum(v.numel() for v in learned.values())
        result[module] = ModuleStatistics(
            entries=len(entries),
            values=count_values(entries),
            norm=math.sqrt(square) if square == square else math.nan,
            rms=math.sqrt(square / count) if count and square == square else 0.0,
            largest=max((float(v.abs().max()) for v in learned.values()), default=0.0),
        )
    return result


def check_health(weights: Mapping[str, Tensor]) -> Health:
    """Look for broken and dead weights."""
    health = Health()
    for key, value in weights.items():
        if not value.is_floating_point() or not value.numel():
            continue
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            health.non_finite[key] = bad
        elif key.endswith("running_var"):
            if bool((value < 0).any()):
                health.bad_variance.append(key)
        elif value.ndim >= 2:
            rows = value.flatten(1).abs().amax(1)
            if not bool(rows.any()):
                health.zero.append(key)
            elif bool((value == value.flatten()[0]).all()):
                health.constant.append(key)
            elif int((rows == 0).sum()):
                health.dead_rows[key] = int((rows == 0).sum())
    return health


@dataclass
class Difference:
    """How one checkpoint differs from another.

    Attributes:
        only_here, only_there: entries that the other side lacks.
        shapes: (entry, shape here, shape there).
        equal: number of entries with the same bits.
        changed: entry -> relative change ``|here - there| / |there|`` (L2).
        by_module: the same over all common entries of a module.
    """

    only_here: list[str] = field(default_factory=list)
    only_there: list[str] = field(default_factory=list)
    shapes: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    equal: int = 0
    changed: dict[str, float] = field(default_factory=dict)
    by_module: dict[str, float] = field(default_factory=dict)


def difference(here: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> Difference:
    """Compare two state dicts entry by entry."""
    result = Difference(
        only_here=[k for k in here if k not in there],
        only_there=[k for k in there if k not in here],
    )
    sums: dict[str, list[float]] = {}
    for key in here:
        if key not in there:
            continue
        a, b = here[key], there[key]
        if a.shape != b.shape:
            result.shapes.append((key, tuple(a.shape), tuple(b.shape)))
            continue
        moved = float((a.double() - b.double()).square().sum())
        size = float(b.double().square().sum())
        total = sums.setdefault(module_of(key), [0.0, 0.0])
        if key.split(".")[-1] not in BUFFERS:
            total[0] += moved
            total[1] += size
        if torch.equal(a, b):
            result.equal += 1
        else:
            result.changed[key] = math.sqrt(moved / size) if size else math.inf
    result.by_module = {
        m: math.sqrt(moved / size) if size else (math.inf if moved else 0.0)
        for m, (moved, size) in sums.items()
    }
    return result
