"""The official scene lists, and which of them a nuScenes version has."""

from __future__ import annotations

from pftrack.errors import UserError

# Version folder -> the splits made from it: name in file names -> name of the devkit's scene list.
SPLITS = {
    "v1.0-trainval": {"train": "train", "val": "val"},
    "v1.0-mini": {"train": "mini_train", "val": "mini_val"},
    "v1.0-test": {"test": "test"},
}


def scene_names(version: str, split: str) -> list[str]:
    """Official scene names of a split.

    Args:
        version: ``v1.0-trainval``, ``v1.0-mini`` or ``v1.0-test``.
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
