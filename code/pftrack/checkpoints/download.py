"""``make checkpoints``: from the manifest's list to verified files below ``checkpoints/``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pftrack.checkpoints.http_download import DownloadError, discard, download
from pftrack.checkpoints.lock import LOCK_NAME, Fingerprint, Lock, WrongBytes
from pftrack.checkpoints.manifest import Manifest, PublishedFile
from pftrack.checkpoints.unpack import (
    DamagedArchive,
    RefusedArchive,
    extract,
    match_members,
    member_names,
    refuse_too_much,
)
from pftrack.errors import UserError
from pftrack.locks import locked

DOWNLOADS = ".downloads"


@dataclass
class Outcome:
    """What happened to one published file.

    Attributes:
        file: its record.
        state: "present", "verified", "recorded" (first use), or "absent" (not in its archive).
        paths: the files on disk.
        archive_has: the archive's members, when the file is not among them.
    """

    file: PublishedFile
    state: str
    paths: list[Path] = field(default_factory=list)
    archive_has: list[str] = field(default_factory=list)


class Store:
    """A checkpoints folder that fills itself from mirrors.

    Args:
        manifest: what there is.
        folder: the checkpoints folder.
        mirrors: addresses (http, https) or local folders, tried in order; a local folder holds
            the archives, or the files themselves. Default: the manifest's address.
        keep_archives: leave archives in ``folder/.downloads`` after unpacking.
        sleep: waits between attempts of a download.
    """

    def __init__(
        self,
        manifest: Manifest,
        folder: Path,
        mirrors: list[str] | None = None,
        keep_archives: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.manifest = manifest
        self.folder = folder
        self.mirrors = mirrors or [manifest.base_url]
        self.keep_archives = keep_archives
        self.sleep = sleep
        self.downloads = folder / DOWNLOADS
        self.lock = Lock(folder)

    def get(self, only: list[str]) -> list[Outcome]:
        """Bring the selected files here and verify every one of them.

        Raises:
            UserError: no mirror has an archive, what it gives is not the recorded file, or it
                lacks a file that is not optional (the others are unpacked then).
        """
        selected = self.manifest.select(only)
        with self._alone():
            outcomes = [self._present(file) for file in selected]
            wanted = [file for file, out in zip(selected, outcomes, strict=True) if out is None]
            fetched: dict[str, Outcome] = {}
            for archive in dict.fromkeys(file.archive for file in wanted):
                group = [file for file in wanted if file.archive == archive]
                for outcome in self._fetch(archive, group):
                    fetched[outcome.file.name] = outcome
        result = [out or fetched[file.name] for file, out in zip(selected, outcomes, strict=True)]
        _complain_about_absent([out for out in result if out.state == "absent"])
        return result

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with locked(self.folder):
            try:
                yield
            finally:
                with suppress(OSError):  # not empty: what was received is kept
                    self.downloads.rmdir()

    def _present(self, file: PublishedFile) -> Outcome | None:
        """The outcome of a file that is here already, or None."""
        if file.is_folder:
            names = [name for name in self.lock.entries if name.startswith(file.path)]
        else:
            names = [file.path]
        paths = [self.folder / name for name in names]
        if not paths or not all(path.is_file() for path in paths):
            return None
        compared = [self._verify(file, n, p) for n, p in zip(names, paths, strict=True)]
        return Outcome(file, "present" if all(compared) else "recorded", paths)

    def _verify(self, file: PublishedFile, name: str, path: Path) -> bool:
        """True when the file was compared with a record, False when it was recorded now."""
        known = Fingerprint(file.size, file.sha256) if file.size and file.sha256 else None
        try:
            return not self.lock.record(name, self.lock.compare(name, path, known))
        except WrongBytes as error:
            raise UserError(
                f"{error}; delete '{path}' to fetch it again, or its line in {LOCK_NAME} if the "
                "new file is the one you want"
            ) from error

    def _fetch(self, archive: str, files: list[PublishedFile]) -> list[Outcome]:
        problems = []
        for mirror in self.mirrors:
            try:
                if mirror.startswith(("http://", "https://")):
                    return self._fetch_from_url(f"{mirror.rstrip('/')}/{archive}", archive, files)
                return self._fetch_from_folder(Path(mirror).expanduser(), archive, files)
            except (DownloadError, DamagedArchive, WrongBytes) as error:
                problems.append(f"{mirror}: {error}")
        raise UserError(
            f"cannot get {archive}: {'; '.join(problems)}. Try again later (it continues), or name "
            "a mirror or a folder that has it with --mirror"
        )

    def _fetch_from_url(self, url: str, archive: str, files: list[PublishedFile]) -> list[Outcome]:
        self.downloads.mkdir(parents=True, exist_ok=True)
        part = self.downloads / f"{archive}.part"
        whole = self.downloads / archive
        for attempt in (1, 2):  # bytes pieced together from a changing server are tried once more
            if not whole.exists():
                download(url, part, self.sleep)
                part.replace(whole)
                discard(part)
            try:
                outcomes = self._unpack(whole, files)
                break
            except RefusedArchive:
                whole.unlink()
                raise
            except (WrongBytes, DamagedArchive):
                whole.unlink()
                if attempt == 2:
                    raise
        complete = all(out.state != "absent" or out.file.optional for out in outcomes)
        if complete and not self.keep_archives:
            whole.unlink()
        return outcomes

    def _fetch_from_folder(
        self, folder: Path, archive: str, files: list[PublishedFile]
    ) -> list[Outcome]:
        if not folder.is_dir():
            raise DownloadError("no such folder")
        if (folder / archive).is_file():
            return self._unpack(folder / archive, files)
        outcomes = []
        for file in files:
            loose = next(
                (p for p in (folder / file.path, folder / Path(file.path).name) if p.is_file()),
                None,
            )
            if loose is None and file.optional:
                outcomes.append(Outcome(file, "absent"))
                continue
            if loose is None or file.is_folder:
                raise DownloadError(f"neither {archive} nor {file.path} in it")
            target = self.folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.copying")
            shutil.copyfile(loose, temporary)
            temporary.replace(target)
            outcomes.append(self._outcome(file, [file.path]))
        return outcomes

    def _unpack(self, archive: Path, files: list[PublishedFile]) -> list[Outcome]:
        fingerprint = self.lock.compare(archive.name, archive)
        names = member_names(archive)
        matches = [match_members(names, file) for file in files]
        refuse_too_much(archive, [member for members in matches for member in members])
        for members in matches:
            for member, path in members.items():
                extract(archive, member, self.folder / path)
        if any(matches):
            self.lock.record(archive.name, fingerprint)
        outcomes = []
        for file, members in zip(files, matches, strict=True):
            outcomes.append(
                self._outcome(file, list(members.values()))
                if members
                else Outcome(file, "absent", archive_has=names)
            )
        return outcomes

    def _outcome(self, file: PublishedFile, names: list[str]) -> Outcome:
        compared = [self._verify(file, name, self.folder / name) for name in names]
        state = "verified" if all(compared) else "recorded"
        return Outcome(file, state, [self.folder / name for name in names])


def _complain_about_absent(absent: list[Outcome]) -> None:
    for outcome in absent:
        if not outcome.file.optional:
            raise UserError(
                f"archive '{outcome.file.archive}' has nothing like "
                f"{' or '.join(outcome.file.members)}; it has "
                f"{', '.join(outcome.archive_has[:12]) or 'no files'}: name the right member in "
                "checkpoints/manifest.json (everything else was unpacked)"
            )
