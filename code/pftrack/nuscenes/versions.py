"""The versions of nuScenes: their folders, their official scene lists, their info files' names.

Imports nothing heavy: errors come at once.
"""

from __future__ import annotations

from pathlib import Path

from pftrack.errors import UserError

TRAINVAL, MINI, TEST = "v1.0-trainval", "v1.0-mini", "v1.0-test"
# Version folder -> the splits made from it: name in file names -> name of the devkit's scene list.
SPLITS = {
    TRAINVAL: {"train": "train", "val": "val"},
    MINI: {"train": "mini_train", "val": "mini_val"},
    TEST: {"test": "test"},
}
INFO_TAG = "tracking_forecasting"


def scene_names(version: str, split: str) -> list[str]:
    """Official scene names of a split.

    Args:
        version: one of :data:`SPLITS`.
        split: ``train``, ``val`` or ``test``; the devkit's ``mini_train`` and ``mini_val`` as well.

    Raises:
        UserError: the version has no such split.
    """
    from nuscenes.utils import splits

    if version not in SPLITS:
        raise UserError(f"unknown nuScenes version '{version}': use one of {', '.join(SPLITS)}")
    names = SPLITS[version]
    if split not in names and split not in names.values():
        raise UserError(
            f"nuScenes {version} has no split '{split}': it has {', '.join(names)}; "
            "the mini splits need VERSION=v1.0-mini"
        )
    return list(getattr(splits, names.get(split, split)))


def official_split(version: str, split: str) -> str:
    """The devkit's name of a split (``val`` of v1.0-mini is ``mini_val``); unknown: as it is."""
    return SPLITS.get(version, {}).get(split, split)


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


def find_version(root: Path, version: str | None = None) -> str | None:
    """The version whose tables ``root`` holds: ``version``, or by default trainval before mini.

    None when it holds no such tables.
    """
    versions = [version] if version else [TRAINVAL, MINI]
    return next((v for v in versions if (root / v / "scene.json").is_file()), None)


def info_file_name(version: str, split: str, tag: str = INFO_TAG) -> str:
    """Name of the info file of a split; those of v1.0-mini carry ``-mini`` in it."""
    if version == MINI and not tag.endswith("-mini"):
        tag += "-mini"
    return f"{tag}_infos_{split}.pkl"
