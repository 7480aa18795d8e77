"""Processes with a worker of each kind; they tell its process id and wait to be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection

from pftrack.processes import end_with_parent


def parent_of_a_pool(method: str, to: Connection) -> None:
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(1, context, initializer=end_with_parent)
    to.send(pool.submit(os.getpid).result())
    signal.pause()


def parent_of_a_process(method: str, to: Connection) -> None:
    context = multiprocessing.get_context(method)
    context.Process(target=_worker, args=(to,)).start()
    signal.pause()


def _worker(to: Connection) -> None:
    end_with_parent()
    to.send(os.getpid())
    signal.pause()
