"""Files that are complete or not there: written beside their place, renamed when whole."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote

from pftrack.errors import UserError

T = TypeVar("T")
_LARGEST_JSON = 64 << 20


def safe_name(name: str) -> str:
    """A file name for any text, another one for any other text; it never leads elsewhere."""
    quoted = quote(name, safe="", errors="surrogatepass")  # what is left: letters, digits, "_.-~"
    if quoted[:1] in (".", "-", ""):
        quoted = f"%{ord(quoted[0]):02X}{quoted[1:]}" if quoted else "%"
    if len(quoted) > 100:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        quoted = f"{quoted[:60]}%{digest[:32]}"
    return quoted


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; what is there when the block ends becomes ``path``.

    For what :func:`atomic` does not fit: libraries that want a name, links. The folder is made
    when it is missing. Whatever happens in between, ``path`` is the old file, no file or the whole
    new one, and an error (or Ctrl-C) leaves nothing else behind.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(
        f".{glob.escape(path.name)}.*.tmp"
    ):  # by a process that was killed
        if not is_alive(left.name.split(".")[-2]):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """An open file that becomes ``path`` when the block ends without an error.

    Args:
        mode: ``w`` (UTF-8 text) or ``wb``.

    Raises:
        OSError: see :func:`atomic_path`.
    """
    encoding = None if "b" in mode else "utf-8"
    with atomic_path(path) as temporary, open(temporary, mode, encoding=encoding) as file:
        yield file


def read_json(path: str | Path, kind: type[T], what: str, remedy: str) -> T:
    """A small JSON file as a declared type (a dataclass, a ``msgspec.Struct``, ...).

    Args:
        what: it is, for the message.  remedy: what to do about a wrong one.

    Raises:
        UserError: it cannot be read, is no JSON or not of that type; the first fault is named.
    """
    import msgspec  # not here for whoever only writes

    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ValueError(f"{path.stat().st_size} bytes are too many")
        # NaN is not in the standard, but in files that Python has written.
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text, object_pairs_hook=_distinct)
        return msgspec.convert(content, kind, str_keys=True)
    except OSError as error:
        raise UserError(f"cannot read {what} '{path}': {error.strerror}; {remedy}") from error
    except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors
        raise UserError(f"{what} '{path}' is malformed: {_line(error)}; {remedy}") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice}' is there twice")
    return content


def _line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "lists within lists without end"
    return " ".join(str(error).replace("`", "").split())[:300]


def write_json(path: str | Path, content: Any) -> None:
    """Write ``content`` as indented JSON, whole or not at all.

    Raises:
        OSError: see :func:`atomic_path`.
    """
    text = json.dumps(content, indent=2)  # as one string: json.dump is several times slower
    with atomic(path) as file:
        file.write(text)


def is_alive(pid: str) -> bool:
    """Whether this machine has a process of that number; anything else is taken for alive."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):
        pass
    return True


def _sync(path: Path) -> None:
    """Have the disk hold a file, or a folder's names, before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
