"""No process outlives the one that it works for."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
from collections.abc import Callable
from multiprocessing.connection import Connection

import parents
import pytest


@pytest.mark.process
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("work", [parents.parent_of_a_pool, parents.parent_of_a_process])
def test_a_worker_ends_with_a_killed_parent(
    work: Callable[[str, Connection], None], method: str
) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    parent = context.Process(target=work, args=(method, there))
    parent.start()
    there.close()  # a parent that fails is an end of file, not a wait
    worker = os.pidfd_open(here.recv())
    parent.kill()
    parent.join()
    assert multiprocessing.connection.wait([worker], timeout=60)  # readable once it has ended
    os.close(worker)
