"""make demo: what runs, what runs again after an interruption, what it prints at the end."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from pftrack.commands import demo_stages as demo
from pftrack.commands.demo_stages import Stage, run_demo, stages, summary
from pftrack.paths import CODE


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A demo of two small stages; ``run(script)`` runs it with ``script`` as the second one.

    Every stage notes in ``log`` that it ran.
    """
    log = tmp_path / "log"
    monkeypatch.setattr(demo, "summary", lambda _out: "the table")

    def run(script: str) -> list[str]:
        note = f"open({str(log)!r}, 'a').write"
        todo = [
            Stage("first", "one", ["-c", f"{note}('first ')"]),
            Stage("second", "two", ["-c", f"{note}('second '); {script}"]),
        ]
        monkeypatch.setattr(demo, "stages", lambda *_: todo)
        run_demo(tmp_path / "out", 2, "16x9", 1)
        return log.read_text().split()

    run.log = log
    return run


def test_finished_stages_are_not_run_again(story, capfd: pytest.CaptureFixture) -> None:
    assert story("") == ["first", "second"]
    assert story("") == ["first", "second"]
    printed = capfd.readouterr().out
    assert printed.count("done before") == 2 and printed.count("the table") == 2


def test_a_stage_that_failed_or_changed_is_run_again(story) -> None:
    for status in (3, 2):
        with pytest.raises(SystemExit) as failed:
            story(f"raise SystemExit({status})")
        assert failed.value.code == status
    assert story("") == ["first", "second", "second", "second"]


def test_another_checkpoint_is_tracked_with_and_drawn_anew(tmp_path: Path) -> None:
    checkpoint, results = tmp_path / "f3.pth", tmp_path / "results.json"
    todo = [Stage("eval", "", ["x"], (checkpoint,)), Stage("video", "", ["x"], (results,))]
    missing = [stage.key() for stage in todo]
    checkpoint.write_bytes(b"one")
    first = [stage.key() for stage in todo]
    assert first[0] != missing[0] and first[1] == missing[1]
    checkpoint.write_bytes(b"two")
    assert todo[0].key() not in (first[0], missing[0])
    by_name = {stage.name: stage for stage in stages(tmp_path, 3, "160x90", 5)}
    assert by_name["eval"].reads == (demo.SHIPPED,)
    assert [path.name for path in by_name["video"].reads] == ["results_nusc.json"]


def test_ctrl_c_ends_the_demo_and_the_next_run_continues(story) -> None:
    """A terminal sends the signal to both processes; here the demo's alone has to be enough."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            story("import os, signal; os.kill(os.getppid(), signal.SIGINT); signal.pause()")
    finally:
        signal.signal(signal.SIGINT, before)
    assert story("")[-2:] == ["second", "second"]


def test_stages_are_commands_that_exist(tmp_path: Path) -> None:
    for stage in stages(tmp_path, 3, "160x90", 5):
        assert (CODE / stage.command[0]).is_file(), stage.name
        for word in stage.command:
            assert not word.endswith("_demo.py") or (CODE / word).is_file()


def test_the_table_and_where_to_look_next(tmp_path: Path) -> None:
    files = {
        "metrics_summary.json": {"amota": 0.5123, "amotp": 1.25, "mota": 0.4, "ids": 7},
        "forecasting.json": {"all": {"tracker": {"1 s": {"minADE": 0.1}, "4 s": {"minADE": 0.9}}}},
        "run.json": {"frames": 80, "wall_seconds": 40.0},
    }
    (tmp_path / "eval").mkdir()
    for name, content in files.items():
        (tmp_path / "eval" / name).write_text(json.dumps(content))
    text = summary(tmp_path)
    header, numbers = (line.split() for line in text.splitlines()[:2])
    assert header == ["AMOTA", "AMOTP", "MOTA", "IDS", "minADE@4", "s", "(m)", "frames/s"]
    assert numbers[0] == "0.512" and numbers[-1] == "2.00" and "0.900" in numbers
    assert "report.html" in text and "video" in text and "make eval CKPT=" in text
