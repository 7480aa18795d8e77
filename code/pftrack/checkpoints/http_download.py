"""One file over HTTP, continued where it stopped."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from pftrack.errors import UserError
from pftrack.files import atomic

CHUNK = 1 << 20
TIMEOUT = 30.0  # s without a byte
MAX_FAILURES = 5  # in a row, without a new byte
MAX_RESTARTS = 2  # from the first byte, because the server's answers do not fit together


class DownloadError(Exception):
    """This address cannot give the file; another one may."""


class _Restart(Exception):
    """What was received so far cannot be continued."""


@dataclass
class _Part:
    """What is known of a half-received file, kept beside it."""

    url: str = ""
    total: int | None = None
    validator: str = ""  # strong ETag, or Last-Modified

    @staticmethod
    def note(part: Path) -> Path:
        return part.with_name(part.name + ".json")

    @classmethod
    def read(cls, part: Path) -> _Part:
        try:
            return cls(**json.loads(cls.note(part).read_text()))
        except (OSError, ValueError, TypeError):
            part.unlink(missing_ok=True)
            return cls()

    def write(self, part: Path) -> None:
        with atomic(self.note(part)) as file:
            file.write(json.dumps(asdict(self)))


def discard(part: Path) -> None:
    """Forget a half-received file."""
    part.unlink(missing_ok=True)
    _Part.note(part).unlink(missing_ok=True)


def download(url: str, part: Path, sleep: Callable[[float], None] = time.sleep) -> None:
    """Receive ``url`` into ``part``, going on from what ``part`` holds already.

    Dropped connections are continued with range requests for as long as each attempt brings
    new bytes. A server that ignores ranges, answers with another range or has changed the file
    makes it start over.

    Args:
        url: http or https address.
        part: file to fill; complete when this returns.
        sleep: waits between attempts.

    Raises:
        DownloadError: the address does not give the file.
        UserError: no space on the disk.
    """
    failures = restarts = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _attempt(url, part)
            return
        except _Restart as reason:
            restarts += 1
            discard(part)
            if restarts > MAX_RESTARTS:
                raise DownloadError(str(reason)) from None
            continue
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise DownloadError(f"HTTP {error.code} {error.reason}") from error
            problem = f"HTTP {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno == 28:
                raise UserError(f"no space left on the disk of '{part.parent}'") from error
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        failures = 0 if part.exists() and part.stat().st_size > before else failures + 1
        if failures >= MAX_FAILURES:
            raise DownloadError(f"{problem} ({failures} attempts in a row)")
        sleep(min(30.0, 2.0**failures))


def _attempt(url: str, part: Path) -> None:
    """One request. Returns when ``part`` is complete; raises what stopped it otherwise."""
    state = _Part.read(part)
    have = part.stat().st_size if part.exists() else 0
    if have and state.total == have:
        return
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if state.validator and state.url == url:
            request.add_header("If-Range", state.validator)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            raise _Restart("the server refuses to continue the file") from error
        raise
    with response:
        if url.startswith("https:") and not response.url.startswith("https:"):
            raise DownloadError(f"redirected to the insecure address {response.url}")
        start, total = _range_of(response)
        if start not in (0, have):
            raise _Restart(f"the server sent bytes from {start} instead of {have}")
        if start and state.total is not None and total != state.total:
            raise _Restart(f"the file's size changed from {state.total} to {total}")
        validator = response.headers.get("ETag", "")
        if validator.startswith("W/") or not validator:
            validator = response.headers.get("Last-Modified", "")
        _Part(url, total, validator).write(part)
        _receive(response, part, start, total)


def _range_of(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """(first byte, size of the whole file) that a response announces."""
    length = response.headers.get("Content-Length")
    if response.status != 206:
        return 0, int(length) if length and length.isdigit() else None
    match = re.fullmatch(
        r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip()
    )
    if not match:
        raise _Restart("the server's partial answer does not say which part it is")
    start, end = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if end < start or (total is not None and end >= total):
        raise _Restart("the server announces an impossible range")
    return start, total


def _receive(response: http.client.HTTPResponse, part: Path, start: int, total: int | None) -> None:
    if total is not None and total - start > shutil.disk_usage(part.parent).free:
        raise UserError(
            f"no space for {part.name}: {(total - start) / 1e9:.1f} GB are missing in "
            f"'{part.parent}'"
        )
    received = start
    with (
        part.open("r+b" if start else "wb") as file,
        tqdm(
            desc=part.name.removesuffix(".part"),
            initial=start,
            total=total,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
        ) as progress,
    ):
        file.seek(start)
        file.truncate()
        while chunk := response.read(CHUNK):
            received += len(chunk)
            if total is not None and received > total:
                raise _Restart(f"the server sent more than the {total} bytes it announced")
            file.write(chunk)
            progress.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())
    if total is not None and received < total:
        raise ConnectionError(f"the connection broke at {received} of {total} bytes")
