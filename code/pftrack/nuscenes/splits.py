"""Splits: a name that nuScenes has, one of the data set's ``splits.json``, or a file of names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pftrack.errors import UserError
from pftrack.files import read_json
from pftrack.nuscenes.tables import read_columns
from pftrack.nuscenes.versions import scene_names

CUSTOM_FILE = "splits.json"  # in a version's folder: lists of scene names by the name of a split
_LARGEST = 16 << 20  # bytes of a file of scene names


def is_split_file(split: str) -> bool:
    """True for a file (``x.txt``, or with a folder in it), False for a name."""
    return split.endswith(".txt") or os.sep in split


def split_name(split: str) -> str:
    """What a split is called: its name, or that of its file without the ending."""
    return Path(split).stem if is_split_file(split) else split


def read_split_file(path: str | Path) -> list[str]:
    """Scene names of a file, one a line; ``#`` begins a comment.

    Raises:
        UserError: not readable as text, no name in it, a name twice.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"split file {path} is too large to be a list of scene names")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(
            f"cannot read split file {path}: {error.strerror}; it holds a scene name a line, "
            "'pftrack split' makes one"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"split file {path} is no text: it holds a scene name a line") from None
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise UserError(f"split file {path} is empty: it holds a scene name a line")
    return _distinct(names, f"split file {path}")


def scenes_of_split(dataroot: str | Path, version: str, split: str) -> list[str]:
    """Scene names of a split.

    Args:
        split: an official name, one of ``<dataroot>/<version>/splits.json``, or a file.

    Raises:
        UserError: there is no such split, or it is empty.
    """
    if is_split_file(split):
        return read_split_file(split)
    own = own_splits(dataroot, version)
    if split not in own:
        return scene_names(version, split)
    if not own[split]:
        raise UserError(f"split '{split}' of {Path(dataroot, version, CUSTOM_FILE)} is empty")
    return _distinct(own[split], f"split '{split}'")


def own_splits(dataroot: str | Path, version: str) -> dict[str, list[str]]:
    """The splits of a dataset's ``splits.json``; {} without one.

    Raises:
        UserError: it is malformed.
    """
    path = Path(dataroot, version, CUSTOM_FILE)
    if not path.is_file():
        return {}
    remedy = "it holds lists of scene names by the name of a split"
    return read_json(path, dict[str, list[str]], "the list of splits", remedy)


def names_of_scenes(dataroot: str | Path, version: str) -> dict[str, str]:
    """Scene token -> name, from the dataset's scene table; {} when there is none."""
    folder = Path(dataroot, version)
    if not (folder / "scene.json").is_file():
        return {}
    scenes = read_columns(folder, "scene", ("token", "name"))
    return dict(zip(scenes["token"].astype(str).tolist(), scenes["name"], strict=True))


def lacking(split: str, missing: Sequence[str], where: str) -> UserError:
    """The error for scenes of a split that are not there."""
    return UserError(
        f"{len(missing)} scene(s) of split '{split}' are not in {where}, the first is "
        f"'{missing[0][:100]}': is it a split of another dataset or version?"
    )


def _distinct(names: list[str], what: str) -> list[str]:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UserError(f"{what} has the scene '{name[:100]}' {count} times")
    return names
