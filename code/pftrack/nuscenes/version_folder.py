"""Where the tables of a nuScenes version are; imports nothing heavy: errors come at once."""

from __future__ import annotations

from pathlib import Path

from pftrack.errors import UserError


def version_folder(root: str | Path, version: str) -> Path:
    """``root / version``.

    Raises:
        UserError: there is no such folder.
    """
    folder = Path(root, version)
    if not folder.is_dir():
        found = sorted(p.name for p in Path(root).glob("v1.0-*"))
        have = f"it has {', '.join(found)}" if found else "it has no version folder"
        raise UserError(
            f"no nuScenes {version} in {root} ({have}): set NUSCENES / --root-path to the folder "
            "that holds maps/, samples/ and the version folder"
        )
    return folder
