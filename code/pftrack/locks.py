"""Output folders: one process at a time, usable before the work, nothing left by dead ones."""

from __future__ import annotations

import fcntl
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pftrack.errors import UserError
from pftrack.files import is_alive

LOCK_NAME = ".lock"
_held: set[int] = set()  # descriptors of the locks of this process
_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp")


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Make a folder and hold it against other processes; yields the lock's file descriptor.

    What processes that are gone left half-written in it is removed. When the work fails, a folder
    that was made here and is still empty goes again.

    Raises:
        UserError: it cannot be made or written, or another process works in it, which is named.
    """
    made = _make(folder)
    descriptor = _take(folder)
    _held.add(descriptor)
    try:
        sweep(folder)
        yield descriptor
    finally:
        if descriptor in _held:  # not in a fork of the process that took it
            _held.remove(descriptor)
            with suppress(OSError):
                (folder / LOCK_NAME).unlink()
            os.close(descriptor)
            for path in made:
                with suppress(OSError):  # not empty: then there are results
                    path.rmdir()


def _leave_to_parent() -> None:
    """In a fork: a lock ends with the process that took it, not with the last of its workers."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_leave_to_parent)


def check_writable(folder: Path) -> None:
    """Whether a folder could be made and written to; nothing is made.

    Raises:
        UserError: it could not.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise UserError(f"cannot make the folder '{folder}': '{nearest}' is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"cannot write in '{folder}': '{nearest}' may not be written to")


def sweep(folder: Path) -> None:
    """Remove temporary files (files.py) of processes that are gone."""
    with suppress(OSError):
        for path in folder.iterdir():
            match = _TEMPORARY.fullmatch(path.name)
            if match is not None and not is_alive(match[1]):
                path.unlink(missing_ok=True)


def _make(folder: Path) -> list[Path]:
    """Make a folder; returns what was not there before, the deepest first."""
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        for path in missing:
            with suppress(OSError, ValueError):
                path.rmdir()
        raise UserError(f"cannot make the folder '{folder}': {reason}") from error
    return missing


def _take(folder: Path) -> int:
    path = folder / LOCK_NAME
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(f"cannot write in '{folder}': {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 500).decode(errors="replace").strip()
            os.close(descriptor)
            raise UserError(
                f"another process works in '{folder}'{f' ({holder})' if holder else ''}: wait for "
                "it, stop it, or choose another folder"
            ) from None
        except OSError:  # a file system without locks: as before there were any
            return descriptor
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                break
        os.close(descriptor)  # the one before has just removed it
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:120]
    note = f"process {os.getpid()}, {command}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, note.encode(errors="replace"))
    return descriptor
