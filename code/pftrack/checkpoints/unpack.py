"""Taking files out of an archive that nobody vouches for."""

from __future__ import annotations

import fnmatch
import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from pftrack.checkpoints.manifest import PublishedFile
from pftrack.errors import UserError
from pftrack.files import atomic

CHUNK = 1 << 20
MAX_MEMBER_BYTES = 32 << 30
MAX_RATIO = 100  # weights hardly compress, info pickles about 5:1; deflate alone reaches 1000:1
RATIO_MATTERS_FROM = 64 << 20


class RefusedArchive(UserError):
    """The archive looks made to do harm."""


class DamagedArchive(Exception):
    """The archive's bytes are wrong; receiving it again may help."""


def member_names(archive: Path) -> list[str]:
    """Paths of the regular files in an archive.

    Raises:
        DamagedArchive: it is not a zip file.
        RefusedArchive: a member's path leaves the archive, or is a link.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            members = source.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise DamagedArchive(str(error)) from error
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
            raise RefusedArchive(
                f"archive '{archive.name}' is refused: '{member.filename}' would be written "
                "outside its folder; get the file from another source"
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise RefusedArchive(
                f"archive '{archive.name}' is refused: '{member.filename}' is a link"
            )
    return [m.filename for m in members if not m.is_dir()]


def match_members(names: list[str], file: PublishedFile) -> dict[str, str]:
    """Which archive members belong to a published file: member -> path below ``checkpoints/``.

    Empty when the archive has none. A folder keeps the members' own folders, without those that
    all of them share.

    Raises:
        UserError: several members could be a single file.
    """
    for pattern in file.members:
        found = [n for n in names if fnmatch.fnmatchcase(n, pattern) or n.endswith("/" + pattern)]
        if file.is_folder and found:
            parents = [PurePosixPath(n).parent.as_posix() for n in found]
            shared = len(PurePosixPath(os.path.commonpath(parents)).parts)
            return {n: file.path + "/".join(PurePosixPath(n).parts[shared:]) for n in found}
        if len(found) > 1:
            raise UserError(
                f"archive '{file.archive}' has several members that could be '{file.path}': "
                f"{', '.join(found)}; name one in checkpoints/manifest.json"
            )
        if found:
            return {found[0]: file.path}
    return {}


def refuse_too_much(archive: Path, members: list[str]) -> None:
    """Refuse an archive whose chosen members together unpack to more than is plausible.

    Raises:
        DamagedArchive: it cannot be read.  RefusedArchive: it unpacks to too much.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            chosen = [source.getinfo(member) for member in members]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise DamagedArchive(str(error)) from error
    for info in chosen:
        _refuse_bomb(archive, info)
    size, packed = sum(i.file_size for i in chosen), archive.stat().st_size
    if size > RATIO_MATTERS_FROM and size > MAX_RATIO * packed:
        raise RefusedArchive(
            f"archive '{archive.name}' is refused: {len(chosen)} members would unpack to "
            f"{size / 1e9:.1f} GB ({size / max(packed, 1):.0f} times its size)"
        )


def extract(archive: Path, member: str, target: Path) -> None:
    """Write one member to ``target``, completely or not at all.

    Raises:
        DamagedArchive: the member's checksum is wrong or its data end early.
        RefusedArchive: it unpacks to more than is plausible.
        UserError: the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as source:
            info = source.getinfo(member)
            _refuse_bomb(archive, info)
            if info.file_size > shutil.disk_usage(target.parent).free:
                raise UserError(
                    f"no space to unpack '{member}' ({info.file_size / 1e9:.1f} GB) in "
                    f"'{target.parent}'"
                )
            with source.open(info) as stream, atomic(target, "wb") as file:
                while chunk := stream.read(CHUNK):
                    file.write(chunk)
                    if file.tell() > info.file_size:
                        raise DamagedArchive(f"'{member}' is longer than it says")
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, zlib.error) as error:
        raise DamagedArchive(str(error)) from error


def _refuse_bomb(archive: Path, info: zipfile.ZipInfo) -> None:
    ratio = info.file_size / max(info.compress_size, 1)
    if info.file_size > MAX_MEMBER_BYTES or (
        info.file_size > RATIO_MATTERS_FROM and ratio > MAX_RATIO
    ):
        raise RefusedArchive(
            f"archive '{archive.name}' is refused: '{info.filename}' would unpack to "
            f"{info.file_size / 1e9:.1f} GB ({ratio:.0f} times its packed size)"
        )
