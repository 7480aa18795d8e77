"""A child process that is stopped gently: signals reach it, and it ends with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any

from pftrack.processes import end_with_parent

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Stopped(Exception):
    """A signal asked this process to end, and its child has ended."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def run_child(command: list[str], environment: dict[str, str], keep: int) -> int:
    """Run a command to its end.

    The child has a process group of its own, so that Ctrl-C does not end it at once: every signal
    to stop reaches the group as SIGTERM, on which a training saves its state and ends.

    Args:
        environment: additions to this process's.
        keep: a file descriptor that stays open in the child.

    Returns:
        its exit status, minus the number of the signal that ended it.

    Raises:
        Stopped: this process was asked to end; the child has.
    """
    asked: list[int] = []

    def ask(number: int, _frame: Any) -> None:
        asked.append(number)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)

    kept = os.dup(keep)  # a lock's own descriptor is closed in every fork (locks.py)
    child = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        pass_fds=[kept],
        process_group=0,
        preexec_fn=lambda: end_with_parent(signal.SIGTERM),
    )
    os.close(kept)
    handled = [n for n in _STOP if signal.getsignal(n) != signal.SIG_IGN]  # nohup, background jobs
    previous = {number: signal.signal(number, ask) for number in handled}
    try:
        status = child.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if asked:
        raise Stopped(asked[0])
    return status
