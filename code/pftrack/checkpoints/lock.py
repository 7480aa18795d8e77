"""Size and SHA-256 of what was received, recorded on first use and enforced ever after."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from pftrack.files import atomic, read_json

LOCK_NAME = "manifest.lock.json"


@dataclass(frozen=True)
class Fingerprint:
    """A file's size in bytes and its SHA-256."""

    size: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]

    @classmethod
    def of(cls, path: Path) -> Fingerprint:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path.stat().st_size, digest)

    def __str__(self) -> str:
        return f"{self.size} bytes, sha256 {self.sha256[:12]}..."


class WrongBytes(Exception):
    """A file is not the one recorded."""


class Lock:
    """The recorded fingerprints of one checkpoints folder, by path or archive name."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_NAME
        self.entries: dict[str, Fingerprint] = {}
        if self.path.exists():
            self.entries = read_json(
                self.path,
                dict[str, Fingerprint],
                "the record",
                "delete it to record the files anew",
            )

    def compare(self, name: str, path: Path, known: Fingerprint | None = None) -> Fingerprint:
        """The fingerprint of a file, after comparing it with the record (or with ``known``).

        Raises:
            WrongBytes: it differs.
        """
        found = Fingerprint.of(path)
        expected = known or self.entries.get(name)
        if expected is not None and found != expected:
            raise WrongBytes(f"'{name}' has {found}, recorded are {expected}")
        return found

    def record(self, name: str, fingerprint: Fingerprint) -> bool:
        """Remember a fingerprint; True when it is new."""
        if self.entries.get(name) == fingerprint:
            return False
        self.entries[name] = fingerprint
        self._save()
        return True

    def _save(self) -> None:
        content = {name: asdict(self.entries[name]) for name in sorted(self.entries)}
        with atomic(self.path) as file:
            file.write(json.dumps(content, indent=2) + "\n")
