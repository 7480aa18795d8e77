"""What the logs of a training say: mean losses by epoch, and how long a step took."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pftrack.retraining.record import Losses

_OTHERS = ("lr", "grad_norm", "data_time", "memory")


@dataclass(frozen=True)
class Line:
    """One line of a ``.log.json``: averages over ``steps`` steps up to ``iteration`` of ``epoch``.

    Attributes:
        epoch, iteration: counted from 1.  seconds: per step, waiting for data included.
        losses: by name; ``loss`` is their sum.
        others: ``lr``, ``grad_norm``, ``data_time`` (s per step), ``memory`` (MiB), where logged.
    """

    epoch: int
    iteration: int
    steps: int
    seconds: float
    losses: dict[str, float]
    others: dict[str, float] = field(default_factory=dict)


@dataclass
class Run:
    """One start of a training.

    Attributes:
        facts: its run record (device, processes, commit, ...).  lines: in order.
    """

    facts: dict[str, Any]
    lines: list[Line] = field(default_factory=list)


def read_runs(folder: Path) -> list[Run]:
    """All runs logged in a work dir, oldest first.

    A line that a kill cut short is left out.
    """
    runs: list[Run] = []
    for path in sorted(folder.glob("*.log.json")):  # named by the time of their start
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                values = json.loads(text)
            except ValueError:
                continue
            if "mode" not in values:
                runs.append(Run(values))
            elif values["mode"] == "train" and runs:
                runs[-1].lines.append(_line(values))
    return runs


def _line(values: dict[str, Any]) -> Line:
    losses = {name: float(value) for name, value in values.items() if "loss" in name}
    others = {name: float(values[name]) for name in _OTHERS if name in values}
    steps = values.get("steps", 1)
    return Line(values["epoch"], values["iter"], steps, values["time"], losses, others)


def kept_lines(runs: list[Run]) -> list[Line]:
    """The lines of a whole training.

    What a run did after the point where a later one resumed does not count: it was done again.
    """
    kept: list[Line] = []
    for run in runs:
        if run.lines:
            first = run.lines[0]
            resumed_at = (first.epoch, first.iteration - first.steps)
            kept = [line for line in kept if (line.epoch, line.iteration) <= resumed_at]
        kept += run.lines
    return kept


def columns(runs: list[Run]) -> dict[str, list[float]]:
    """What was logged over a training: ``step`` (done so far), ``time`` (s per step), ``lr``,
    ``grad_norm``, ``data_time``, ``memory`` and every loss; NaN where a line does not have it."""
    lines = kept_lines(runs)
    names = dict.fromkeys(name for line in lines for name in (*line.others, *line.losses))
    table: dict[str, list[float]] = {name: [] for name in ("step", "time", *names)}
    done = 0
    for line in lines:
        done += line.steps
        values = {**line.others, **line.losses}
        table["step"].append(done)
        table["time"].append(line.seconds)
        for name in names:
            table[name].append(values.get(name, math.nan))
    return table


def epoch_losses(runs: list[Run]) -> Losses:
    """Mean of every loss over the steps of each epoch that are logged."""
    kept = kept_lines(runs)
    sums: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    steps: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in kept:
        for name, value in line.losses.items():
            sums[line.epoch][name] += value * line.steps
            steps[line.epoch][name] += line.steps
    return {
        epoch: {name: total / steps[epoch][name] for name, total in sums[epoch].items()}
        for epoch in sorted(sums)
    }


def step_seconds(runs: list[Run], device: str, processes: int) -> float | None:
    """Median time of a step in the runs on this device with so many processes; None: there is none.

    The first line of each run, with the start of workers and kernels, is left out if it can be.

    Args:
        device: its name without the number of threads.
    """
    seconds = [
        line.seconds
        for run in runs
        if str(run.facts.get("device")).split(",")[0] == device
        and run.facts.get("processes") == processes
        for line in (run.lines[1:] or run.lines)
    ]
    return statistics.median(seconds) if seconds else None
