"""Output folders: one process at a time, and nothing left by others."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pftrack.errors import UserError
from pftrack.files import atomic
from pftrack.locks import check_writable, locked, sweep

HOLD = """
import sys
from pathlib import Path
from pftrack.locks import locked
sys.argv = ["train.py", "config.py"]
with locked(Path(sys.stdin.readline().strip())):
    print("held", flush=True)
    sys.stdin.readline()
"""


def dead_process() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_the_second_process_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin and child.stdout
    child.stdin.write(f"{folder}\n")
    child.stdin.flush()
    assert child.stdout.readline() == "held\n"
    words = rf"another process works in .*\(process {child.pid}, train.py config.py, since 20"
    with pytest.raises(UserError, match=words), locked(folder):
        pass
    assert folder.is_dir()
    child.kill()
    child.wait()
    with locked(folder):  # the dead hold nothing
        assert [path.name for path in folder.iterdir()] == [".lock"]
    assert folder.is_dir() and not list(folder.iterdir())


def test_a_lock_ends_with_its_process_and_not_with_its_workers(tmp_path: Path) -> None:
    """A loader's worker outlives a killed training by seconds."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        with locked(tmp_path):
            if os.fork() == 0:  # the worker, which lives as long as the test's end of the pipe
                os.close(theirs)
                os.read(ours, 1)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(ours)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    os.close(theirs)


def test_a_failure_leaves_no_folder_behind_and_results_stay(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locked(tmp_path / "a" / "b"):
        raise RuntimeError
    assert not (tmp_path / "a").exists()
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "result").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["result"]


def test_what_dead_processes_left_is_removed(tmp_path: Path) -> None:
    dead = tmp_path / f".iter_9.pth.{dead_process()}.tmp"
    alive = tmp_path / f".iter_9.pth.{os.getpid()}.tmp"
    other = tmp_path / ".hidden.tmp"
    for path in (dead, alive, other):
        path.touch()
    sweep(tmp_path)
    assert not dead.exists() and alive.exists() and other.exists()
    dead = tmp_path / f".a.json.{dead_process()}.tmp"
    dead.touch()
    with atomic(tmp_path / "a.json") as file:
        file.write("1")
    assert not dead.exists()


def test_folders_that_cannot_be_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "x", Path("/proc/nothing/x"), tmp_path / ("x" * 300)):
        with pytest.raises(UserError, match="cannot make the folder"), locked(folder):
            pass
    with pytest.raises(UserError, match="is a file"):
        check_writable(tmp_path / "file" / "x")
    check_writable(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


def test_a_lock_without_a_note_is_respected(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        words = r"another process works in '[^']*': wait"
        with pytest.raises(UserError, match=words), locked(tmp_path):
            pass
