"""Reads large JSON files piece by piece.

The nuScenes tables and results files reach gigabytes; a whole-file ``json.load`` needs many times
their size in memory. :class:`JsonReader` decodes one element at a time, with the standard
library's C scanner, from a buffer that holds little more than that element.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from pftrack.errors import UserError

_CHUNK = 1 << 20
_WHITESPACE = " \t\n\r"
# An error closer than this to the end of the buffer may only mean that more must be read.
_TAIL = 32


class InvalidJson(UserError):
    """A file that is not JSON, or ends too early; ``reason``: what is wrong where."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is not valid JSON: {reason}")
        self.reason = reason


class JsonReader:
    """Walks through one JSON document.

    ``keys()`` and ``items()`` iterate over the object or array that comes next; inside ``keys()``
    the caller takes each value with ``value()``, ``keys()`` or ``items()`` before it goes on.

    Args:
        progress: told the number of characters read, block by block.

    Raises:
        UserError: the file is not readable, not JSON, or ends too early (:class:`InvalidJson`).
    """

    def __init__(self, path: str | Path, progress: Callable[[int], object] | None = None):
        self.path = Path(path)
        self._progress = progress
        self._buffer = ""
        self._at = 0
        self._read_before = 0
        self._eof = False
        self._decode = json.JSONDecoder().raw_decode
        self._file: IO[str]
        try:
            self._file = open(self.path, encoding="utf-8-sig")  # noqa: SIM115, closed in __exit__
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror}") from None

    def __enter__(self) -> JsonReader:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()

    def value(self) -> Any:
        """Decode the next value as a whole."""
        self._peek()
        size = _CHUNK
        while True:
            try:
                value, end = self._decode(self._buffer, self._at)
            except RecursionError:
                raise self._error("lists within lists without end", self._at) from None
            except json.JSONDecodeError as error:
                cut_off = error.msg.startswith("Unterminated string")
                if self._eof or (not cut_off and error.pos < len(self._buffer) - _TAIL):
                    raise self._error(error.msg, error.pos) from None
            else:
                # A number that touches the end of the buffer may go on.
                if end < len(self._buffer) or self._eof:
                    self._at = end
                    return value
            self._fill(size)
            size *= 2

    def items(self) -> Iterator[Any]:
        """Yield the decoded elements of the array that comes next."""
        self._expect("[")
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            yield self.value()
            if self._separator("]"):
                return

    def keys(self) -> Iterator[str]:
        """Yield the keys of the object that comes next; the caller takes each value."""
        self._expect("{")
        if self._peek() == "}":
            self._at += 1
            return
        while True:
            if self._peek() != '"':
                raise self._error("Expecting property name", self._at)
            key = self.value()
            self._expect(":")
            yield key
            if self._separator("}"):
                return

    def at_object(self) -> bool:
        """True when the next value is an object."""
        return self._peek() == "{"

    def end(self) -> None:
        """Check that nothing follows the document."""
        while True:
            rest = self._buffer[self._at :].strip(_WHITESPACE)
            if rest:
                raise self._error("Extra data", self._at)
            if self._eof:
                return
            self._at = len(self._buffer)
            self._fill(_CHUNK)

    def _separator(self, closing: str) -> bool:
        char = self._peek()
        if char not in ("," + closing):
            raise self._error(f"Expecting ',' or '{closing}'", self._at)
        self._at += 1
        return char == closing

    def _expect(self, char: str) -> None:
        if self._peek() != char:
            raise self._error(f"Expecting '{char}'", self._at)
        self._at += 1

    def _peek(self) -> str:
        """The next character that is not white space, which stays in the buffer."""
        while True:
            while self._at < len(self._buffer):
                char = self._buffer[self._at]
                if char not in _WHITESPACE:
                    return char
                self._at += 1
            if self._eof:
                raise self._error("the file ends too early (truncated?)", self._at)
            self._fill(_CHUNK)

    def _fill(self, size: int) -> None:
        try:
            chunk = self._file.read(size)
        except UnicodeDecodeError:
            raise self._error("not UTF-8 text", len(self._buffer)) from None
        if self._progress is not None and chunk:
            self._progress(len(chunk))
        self._eof = not chunk
        self._read_before += self._at
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0

    def _error(self, message: str, position: int) -> InvalidJson:
        if self._eof and position >= len(self._buffer) - _TAIL:
            message = "the file ends too early (truncated?)"
        where = self._read_before + position
        return InvalidJson(self.path, f"{message} at character {where}")
