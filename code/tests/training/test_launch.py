"""What a worker and its launcher tell each other."""

import atexit
import errno
import threading
from functools import partial
from pathlib import Path

import pytest
from child_process import in_child

from pftrack.errors import UserError
from pftrack.training import launch


@pytest.fixture
def mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a launcher that has started this process as its worker."""
    monkeypatch.setenv(launch._MISTAKE, str(tmp_path / "mistake"))
    return tmp_path / "mistake"


def test_without_a_launcher_a_mistake_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(launch._MISTAKE, raising=False)
    launch.end_worker(UserError("wrong"))
    assert not launch.is_over()
    launch.leave_worker(0)  # returns


def test_the_first_mistake_is_the_one_that_is_said(mistake: Path) -> None:
    assert not launch.is_over()
    for error in (UserError("first"), UserError("second"), RuntimeError("connection lost")):
        assert in_child(partial(launch.end_worker, error)) == 2
        assert launch.is_over()
    assert mistake.read_text() == "first"


def test_a_full_disk_is_a_mistake_a_bug_is_none(mistake: Path, capfd) -> None:
    assert in_child(partial(launch.end_worker, RuntimeError("a bug"))) == 1
    assert "RuntimeError: a bug" in capfd.readouterr().err and not launch.is_over()
    full = OSError(errno.ENOSPC, "No space left on device", "epoch_1.pth")
    assert in_child(partial(launch.end_worker, full)) == 2
    assert "No space left on device (epoch_1.pth): make room" in mistake.read_text()
    assert capfd.readouterr().err == ""


def test_a_worker_that_waits_for_ever_ends_after_another_ones_mistake(mistake: Path) -> None:
    def wait() -> None:
        launch.end_with_launcher()
        threading.Event().wait()

    mistake.write_text("wrong")
    assert in_child(wait) == 2


def test_a_worker_that_is_done_puts_away_what_it_should_and_waits_for_no_thread(
    mistake: Path, capfd
) -> None:
    def finish() -> None:
        atexit._clear()  # pytest's
        atexit.register(print, "put away")
        threading.Thread(target=threading.Event().wait).start()
        print("finished")
        launch.leave_worker(3)

    assert in_child(finish) == 3
    assert capfd.readouterr().out == "finished\nput away\n"


def test_only_a_restarted_worker_looks_for_what_came_after_the_launch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(launch._BEGUN, "12.5")
    assert launch.restarted_since() is None
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert launch.restarted_since() == 12.5
