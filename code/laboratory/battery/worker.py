"""One case in a process of its own, and what became of it."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

KINDS = ("one line", "accepted", "traceback", "silent", "hang", "left-over", "code run")
TIMEOUT = 60.0  # s; the slowest valid command of the battery takes a few
_MEMORY = 8 << 30  # address space; the imports take half of it


@dataclass(frozen=True)
class Case:
    """A bad input.

    Attributes:
        format: what is spoiled.  name: how.
        run: prepares the input in a folder and returns what to call and its arguments. The folder
            ``out`` in it is where the command may write; it must be as before when it refuses.
        good: the input is no mistake after all: the command must end with status 0.
    """

    format: str
    name: str
    run: Callable[[Path], tuple[Callable[[], int | None], list[str]]]
    good: bool = False


@dataclass(frozen=True)
class Outcome:
    """kind: one of :data:`KINDS`.  status: of the process.  text: its stderr."""

    case: Case
    kind: str
    status: int
    text: str
    seconds: float


def start(case: Case, folder: Path) -> int:
    """Fork a worker for a case; returns its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        status = _child(case, folder)
    finally:
        os._exit(status)


def _child(case: Case, folder: Path) -> int:
    from pftrack.errors import run_cli

    os.setpgid(0, 0)
    out = os.open(folder / "stdout", os.O_WRONLY | os.O_CREAT)
    err = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout = os.fdopen(1, "w", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", errors="replace", closefd=False)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.environ["MARK"] = str(folder / "mark")
    try:
        main, arguments = case.run(folder)
        (folder / "ready").touch()
        sys.argv = ["battery", *arguments]
        run_cli(main)
    except SystemExit as end:
        code = end.code
        sys.stdout.flush()
        sys.stderr.flush()
        if isinstance(code, str):
            print(code, file=sys.stderr, flush=True)
            return 1
        return int(code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        return 1


def classify(case: Case, folder: Path, status: int, seconds: float, hung: bool) -> Outcome:
    """What became of a case, from its exit status, its stderr and its folder."""
    text = (folder / "stderr").read_text(errors="replace") if (folder / "stderr").exists() else ""
    errors = re.findall(
        r"^(?:.*\r)?(?:battery: |\S+: )?error: .+|^Makefile:\d+: \*\*\* .+", text, re.M
    )
    left = sorted(p.relative_to(folder / "out") for p in (folder / "out").rglob("*"))
    if (folder / "mark").exists():
        kind = "code run"
    elif hung:
        kind = "hang"
    elif not (folder / "ready").exists():
        kind = "traceback"  # the battery's own
    elif "Traceback (most recent call last)" in text or status not in (0, 1, 2):
        kind = "traceback"
    elif status == 0:
        kind = "accepted" if case.good else "silent"
    elif case.good:
        kind, text = "traceback", f"a good input was refused: {text}"
    elif status == 2 and len(errors) == 1:
        kind = "one line"
        if left:
            kind, text = "left-over", f"{', '.join(map(str, left))[:300]} || {text}"
    elif status == 1 and text.strip() and len(text.strip().splitlines()) < 3:
        kind = "one line"  # it ran, and says that the result is none
    else:
        kind = "traceback"
    return Outcome(case, kind, status, text, seconds)


def kill(pid: int) -> None:
    for target in (os.killpg, os.kill):
        try:
            target(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def now() -> float:
    return time.monotonic()
