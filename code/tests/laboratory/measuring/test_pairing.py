"""Two commits of a small repository side by side."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from laboratory.measuring.pairing import pair
from laboratory.measuring.record import Record, Row, read_record
from pftrack.errors import UserError
from pftrack.paths import CODE

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not here")
# Instead of a benchmark: writes a record with a number of its own, and the process that asked.
TOOL = """
import os, pathlib, sys
sys.path.insert(0, {code!r})
from laboratory.measuring.record import Record, Row
order = pathlib.Path({order!r})
order.write_text(order.read_text() + {side!r})
if {side!r} == "C":
    import signal
    signal.pause()
numbers = {{"CPU s": {seconds}, "wall s": 1.0 + len(order.read_text())}}
record = Record.now(sys.argv[1], [], 0.0, [Row("thing", numbers), Row({side!r}, numbers)])
record.write(sys.argv[-1])
"""


def git(root: Path, *args: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", str(root), *who, *args], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, Callable[[str, float], None]]:
    """A repository with tools/bench.py, and a function that changes what that does."""
    root, order = tmp_path / "repository", tmp_path / "order"
    order.write_text("")

    def write(side: str, seconds: float) -> None:
        text = TOOL.format(code=str(CODE), order=str(order), side=side, seconds=seconds)
        (root / "code/tools/bench.py").write_text(text)

    for folder in ("code/tools", "code/laboratory/benchmarks", "code/laboratory/measuring"):
        (root / folder).mkdir(parents=True)
    write("A", 3.0)
    (root / "code/laboratory/benchmarks/tiny.py").write_text("")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "without a record")
    (root / "code/laboratory/measuring/record.py").write_text("")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "with one")
    return root, write


def worktrees(root: Path) -> int:
    command = ["git", "-C", str(root), "worktree", "list"]
    return len(subprocess.run(command, capture_output=True, text=True).stdout.splitlines())


@needs_git
def test_sides_alternate_and_medians_are_compared(
    repository: tuple[Path, Callable[[str, float], None]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    root, write = repository
    write("B", 2.0)
    record = pair("tiny", [], "HEAD", 3, root)
    assert (tmp_path / "order").read_text() == "ABABAB"
    assert record.before[0] == Row("thing", {"CPU s": 3.0, "wall s": 4.0})
    assert record.rows[0] == Row("thing", {"CPU s": 2.0, "wall s": 5.0})
    assert record.rounds == 3 and len(record.against or "") == 40
    text = capsys.readouterr().out
    assert "1.500" in text and "only on one side: A, B" in text
    assert worktrees(root) == 1


@needs_git
def test_what_cannot_be_compared_is_one_line(
    repository: tuple[Path, Callable[[str, float], None]], tmp_path: Path
) -> None:
    root, _ = repository
    for name, commit, message in (
        ("tiny", "HEAD~1", "is older than the record of benchmarks"),
        ("other", "HEAD", "has no benchmark 'other'"),
        ("tiny", "gone", "--against gone: no such commit"),
        ("tiny", "--help", "--against --help: no such commit"),
    ):
        with pytest.raises(UserError, match=message):
            pair(name, [], commit, 1, root)
    with pytest.raises(UserError, match="no git repository"):
        pair("tiny", [], "HEAD", 1, tmp_path)
    with pytest.raises(UserError, match="--rounds 0"):
        pair("tiny", [], "HEAD", 0, root)
    (root / "code/tools/bench.py").write_text("raise SystemExit('error: out of chalk')")
    with pytest.raises(UserError, match=r"benchmark 'tiny' in .*/repository/code failed: out of"):
        pair("tiny", [], "HEAD", 1, root)
    assert worktrees(root) == 1


@needs_git
@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(
    repository: tuple[Path, Callable[[str, float], None]], tmp_path: Path, number: int
) -> None:
    root, write = repository
    write("C", 1.0)
    git(root, "commit", "-q", "-a", "-m", "waits")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    script = (
        f"import sys, pathlib; sys.path.insert(0, {str(CODE)!r})\n"
        "from laboratory.measuring.pairing import pair\n"
        f"pair('tiny', [], 'HEAD', 1, pathlib.Path({str(root)!r}))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A shell's background jobs ignore interrupts, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "order").read_text():
        assert process.poll() is None
    process.send_signal(number)
    assert process.wait(timeout=60) != 0
    assert worktrees(root) == 1 and not list(temporary.iterdir())


def test_the_record_of_a_pairing_comes_back(tmp_path: Path) -> None:
    record = Record.now("tiny", [], None, [Row("a", {"CPU s": 1.0})])
    record.against, record.before = "0" * 40, [Row("a", {"CPU s": 2.0})]
    record.write(tmp_path / "pair.json")
    assert read_record(tmp_path / "pair.json") == record
    assert record.default_path().name.endswith("_tiny_against_00000000.json")
