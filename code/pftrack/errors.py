"""Errors a user can cause, and how a command line reports them."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from pftrack.compatibility.libraries import MissingOperator

# The disk's state, or a name that cannot be: no room, read-only, not ours to write... No bug.
_DISK = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
}


class UserError(Exception):
    """The user's input was wrong. The message is one line: what was wrong, where, what to do."""

    def __init__(self, message: str) -> None:
        if message.startswith("Caught UserError in"):
            # A DataLoader raises its worker's error anew, with the worker's traceback as message.
            message = message.rpartition("UserError: ")[2].strip()
        super().__init__(message)


def fail(message: str) -> NoReturn:
    """Print one line on stderr and leave with exit status 2."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(2)


def user_message(error: BaseException) -> str | None:
    """What to tell the user who can put ``error`` right; None: it is a bug.

    A disk that is full or may not be written to is the user's to mend, wherever it was met.
    """
    if isinstance(error, (UserError, MissingOperator)):
        return str(error)
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f" ({error.filename})" if error.filename else ""
        return f"{os.strerror(error.errno)}{where}: make room or use another folder, then try again"
    return None


def run_cli(main: Callable[[], int | None]) -> NoReturn:
    """Run a command line: exit status 0 when done, 2 after a user's mistake, 130 on Ctrl-C.

    Where nobody reads the output to its end (``| head``) there is nothing left to say: 141, as a
    shell has it. An exception without a :func:`user_message` is a bug and keeps its traceback
    (exit status 1).
    """
    try:
        try:
            status = main()
        finally:
            print(end="", flush=True)  # later, a reader that has gone would be a traceback
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _drop_unread_output():
            raise SystemExit(128 + signal.SIGPIPE) from None
        message = user_message(error)
        if message is None:
            raise
        fail(message)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    raise SystemExit(status or 0)


def _drop_unread_output() -> bool:
    """Let output go nowhere where its reader has gone. Returns whether one has."""
    poll = select.poll()
    for stream in (1, 2):
        poll.register(stream, 0)
    broken = [stream for stream, events in poll.poll(0) if events & select.POLLERR]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in broken:
        os.dup2(nowhere, stream)
    return bool(broken)
