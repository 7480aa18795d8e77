"""Records of benchmarks: what they hold, and that they come back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from laboratory.measuring.machine import OtherWork, disturbed, machine, versions
from laboratory.measuring.record import CPU, PEAK, WALL, Record, Row, Stopwatch, read_record
from pftrack.errors import UserError


def test_a_record_comes_back_and_says_where_it_was_made(tmp_path: Path) -> None:
    made = Record.now("loader", ["--clips", "3"], 0.25, [Row("320x800", {WALL: 1.5})])
    made.write(tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == made
    assert made.default_path().name == f"{made.date[:19].replace(':', '')}_loader.json"
    assert made.machine["cores"] >= 1 and made.machine["cpu"] and len(made.machine["load"]) == 3
    assert made.versions["python"] == sys.version.split()[0]
    assert {"torch", "numpy", "git_commit", "git_modified"} <= versions().keys()
    assert json.dumps(machine())


def test_what_is_no_record_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"benchmark": "x", "rows": 3}')
    with pytest.raises(UserError, match=r"the record of a benchmark .*other.json. is malformed"):
        read_record(tmp_path / "other.json")


def test_a_stopwatch_counts_the_work_of_this_process() -> None:
    watch = Stopwatch()
    sum(i * i for i in range(300_000))
    cost = watch.cost()
    assert list(cost) == [WALL, CPU, PEAK]
    assert cost[CPU] > 0 and cost[WALL] > 0 and 0.01 < cost[PEAK] < 1000


def test_other_work_is_what_is_busy_beyond_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([(0.0, 100.0), (10.0, 118.0)])
    monkeypatch.setattr(OtherWork, "_now", staticmethod(lambda: next(times)))
    assert OtherWork().cores(own_seconds=3.0) == pytest.approx(1.5)
    assert disturbed(None) is None and disturbed(0.05) is None
    assert "1.5 cores" in (disturbed(1.5) or "")
