"""Processes that live for another one: none outlives the one that started it."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(signum: int = signal.SIGKILL) -> None:
    """In a new process: receive ``signum`` when the one that started it is gone.

    A pool's worker waits for work at a pipe of which it holds both ends, so without this it would
    wait for ever after its parent was killed. Linux only; elsewhere nothing is done.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signum)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # gone before this
        os.kill(os.getpid(), signum)
