"""The list of published files (``checkpoints/manifest.json``) as typed records."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from msgspec import Meta

from pftrack.errors import UserError
from pftrack.files import read_json
from pftrack.nuscenes.versions import SPLITS
from pftrack.paths import CHECKPOINTS_DIR

Reported = Literal["split", "AMOTA", "AMOTP", "MOTA", "MOTP", "recall", "IDS"]
Text = Annotated[str, Meta(min_length=1)]
_SPLITS = {split for splits in SPLITS.values() for split in splits}
MANIFEST = CHECKPOINTS_DIR / "manifest.json"


@dataclass(frozen=True)
class PublishedFile:
    """One published file, or one folder of them.

    Attributes:
        name: what ``ONLY=`` selects it by.
        path: where it belongs below ``checkpoints/``; with a slash at the end, a folder that takes
            every member matching ``members``.
        archive: the zip that has it.
        members: patterns of its path in the archive, tried in order; a plain path also matches
            with further folders before it.
        verified: the member's path is known, not guessed.
        kind: tracker, detector, backbone, ablation or infos.
        config: the configuration (below ``code/``) it belongs to, if any.
        published: metrics its authors report, with their ``split``.
        optional: its archive may lack it.
        size, sha256: known in advance, or None: recorded on first use.
    """

    name: Text
    path: Text
    archive: Text
    members: Annotated[tuple[Text, ...], Meta(min_length=1)]
    kind: Text
    verified: bool = False
    config: str | None = None
    published: Annotated[
        dict[Reported, str | Annotated[float, Meta(ge=0, le=1e6)]], Meta(min_length=2)
    ] = field(default_factory=dict)
    optional: bool = False
    size: Annotated[int, Meta(ge=0)] | None = None
    sha256: str | None = None

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


@dataclass(frozen=True)
class Manifest:
    """All published files and where their archives are."""

    base_url: Text
    license: Text
    files: Annotated[tuple[PublishedFile, ...], Meta(min_length=1)]

    def select(self, only: list[str]) -> list[PublishedFile]:
        """Files by name, path, archive or kind; all of them when ``only`` is empty.

        Raises:
            UserError: a name selects nothing.
        """
        chosen: list[PublishedFile] = []
        for word in only:
            found = [
                f for f in self.files if word in (f.name, f.path, f.path[:-1], f.archive, f.kind)
            ]
            if not found:
                names = ", ".join(f.name for f in self.files)
                raise UserError(f"nothing published is called '{word}'; there are: {names}")
            chosen += found
        return [f for f in self.files if f in chosen] if only else list(self.files)

    def for_path(self, path: Path) -> PublishedFile | None:
        """The record of a file below ``checkpoints/``, e.g. to find its configuration."""
        try:
            relative = path.resolve().relative_to(CHECKPOINTS_DIR).as_posix()
        except ValueError:
            return None
        for file in self.files:
            if relative == file.path or (file.is_folder and relative.startswith(file.path)):
                return file
        return None


def load_manifest(path: Path = MANIFEST) -> Manifest:
    """Read and check a manifest.

    Raises:
        UserError: it is missing, not JSON, lacks a field, or names a path outside its folder.
    """
    manifest = read_json(path, Manifest, "the manifest", "it is part of this project: restore it")
    for file in manifest.files:
        for name in (file.path, file.archive):
            pure = PurePosixPath(name)
            unsafe = "\\" in name or ":" in name or not name.isprintable()
            if pure.is_absolute() or ".." in pure.parts or unsafe or not pure.parts:
                raise UserError(f"the manifest '{path}' names a path outside its folder: {name!r}")
        if file.published:
            _check_published(path, file)
    return manifest


def _check_published(path: Path, file: PublishedFile) -> None:
    for metric, value in ({"split": "none"} | file.published).items():
        if (value not in _SPLITS) if metric == "split" else isinstance(value, str):
            raise UserError(
                f"the manifest '{path}': 'published' of {file.name}: {metric} is {value!r}: "
                f"a split ({', '.join(sorted(_SPLITS))}), and numbers as metrics, expected"
            )
