"""Curves of what runs: what TensorBoard reads, and that every chart has its curves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pftrack import live


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(point.step, point.value) for point in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_progress_is_a_point_every_few_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    with live.LiveProgress(tmp_path / "tf_logs", total=100, done=20) as progress:
        for _ in range(6):
            clock[0] += 2.0
            progress.update(10)
    found = curves(tmp_path / "tf_logs")
    assert found["progress/done_percent"] == [(50, 50.0), (80, 80.0)]  # after 6 and 12 s
    assert found["progress/frames_per_second"] == [(50, 5.0), (80, 5.0)]
    hours = [value * 3600 for _, value in found["progress/hours_left"]]
    assert hours == pytest.approx([10.0, 4.0], rel=1e-5)


def test_short_runs_leave_no_folder(tmp_path: Path) -> None:
    with live.LiveProgress(tmp_path / "tf_logs", total=3) as progress:
        progress.update(3)
    assert list(tmp_path.iterdir()) == []


def test_every_chart_shows_something_that_is_written() -> None:
    written = {
        *("progress/done_percent", "progress/hours_left", "progress/frames_per_second"),
        *(f"train/{name}" for name in ("loss", "loss_cls", "loss_bbox", "f0.loss_cls")),
        *(f"train/{name}" for name in ("loss_mem_cls", "loss_mem_bbox", "loss_for")),
        *(f"train/{name}" for name in ("grad_norm", "lr", "time", "data_time", "memory")),
        *(f"val/{name}" for name in ("amota", "amotp", "mota", "recall", "ids")),
    }
    for charts in live._LAYOUT.values():
        for title, (_, tags) in charts.items():
            for tag in tags:
                assert any(re.match(tag, name) for name in written), title
