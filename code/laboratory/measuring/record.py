"""The record of a benchmark: rows of numbers, with machine, versions and load."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from laboratory.measuring.machine import machine, versions
from pftrack.files import read_json, write_json
from pftrack.memory import peak_memory

WALL, CPU, PEAK = "wall s", "CPU s", "peak GB"  # names of numbers; GB: 10^9 bytes
FOLDER = Path("work_dirs/bench")


@dataclass
class Row:
    """What a benchmark has measured of one thing.

    Attributes:
        what: the thing, another name in every row.
        numbers: by name, units included (``wall s``).
    """

    what: str
    numbers: dict[str, float]


class Stopwatch:
    """Wall and CPU seconds since it was made; finished child processes count."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()

    def seconds(self) -> dict[str, float]:
        """So far."""
        return {WALL: time.perf_counter() - self._wall, CPU: cpu_seconds() - self._cpu}

    def cost(self) -> dict[str, float]:
        """:meth:`seconds`, and the largest memory that this process has had."""
        return {**self.seconds(), PEAK: peak_memory() / 1e9}


def cpu_seconds() -> float:
    """Of all threads of this process and of its finished children."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


@dataclass
class Record:
    """One run of a benchmark, or a pairing of two commits, as its JSON file has it.

    Attributes:
        benchmark, arguments: what ran.  date: when it ended, UTC, ISO 8601.
        machine, versions: see :mod:`laboratory.measuring.machine`.
        others: cores that other processes kept busy meanwhile; None: this system does not say.
        rows: its numbers; of a pairing the medians of the working tree.
        against: of a pairing: the other commit.  rounds: alternations.  before: its medians.
    """

    benchmark: str
    arguments: list[str]
    date: str
    machine: dict[str, Any]
    versions: dict[str, Any]
    others: float | None
    rows: list[Row]
    against: str | None = None
    rounds: int = 1
    before: list[Row] = field(default_factory=list)

    @classmethod
    def now(
        cls, benchmark: str, arguments: Sequence[str], others: float | None, rows: list[Row]
    ) -> Record:
        """Of a run that has just ended here."""
        date = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(benchmark, list(arguments), date, machine(), versions(), others, rows)

    def default_path(self) -> Path:
        """A name that no other run has."""
        name = f"{self.date[:19].replace(':', '')}_{self.benchmark}"
        return FOLDER / (
            f"{name}_against_{self.against[:8]}.json" if self.against else f"{name}.json"
        )

    def write(self, path: str | Path) -> None:
        """Write the JSON file, whole or not at all."""
        write_json(path, asdict(self))


def read_record(path: str | Path) -> Record:
    """A record that :meth:`Record.write` has written.

    Raises:
        UserError: it cannot be read, or is something else.
    """
    return read_json(path, Record, "the record of a benchmark", "tools/bench.py NAME writes one")
