"""Errors a user can cause, and how a command line reports them."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import NoReturn

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


def run_cli(main: Callable[[], int | None]) -> NoReturn:
    """Run a command line: exit status 0 when done, 2 after a :class:`UserError`, 130 on Ctrl-C.

    A disk that is full or may not be written to is the user's to mend, wherever it was met. Any
    other exception is a bug and keeps its traceback (exit status 1).
    """
    try:
        status = main()
    except UserError as error:
        fail(str(error))
    except OSError as error:
        if error.errno not in _DISK:
            raise
        where = f" ({error.filename})" if error.filename else ""
        fail(f"{os.strerror(error.errno)}{where}: make room or use another folder, then try again")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    raise SystemExit(status or 0)
