"""Work in processes of its own: what it breaks or leaves behind ends with them."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable


def in_children(*works: Callable[[], object]) -> list[int]:
    """Run every work in a forked process, side by side; their exit codes, or minus a signal."""
    pids = []
    for work in works:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        pids.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def in_child(work: Callable[[], object]) -> int:
    """:func:`in_children` for one."""
    return in_children(work)[0]
