"""The key frames of a split, from whichever info files hold its scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pftrack.datasets.infos import Info, InfoFile, complete_rig, in_scene_order, load_infos, rig_of
from pftrack.nuscenes.splits import lacking, names_of_scenes, scenes_of_split

_OFFICIAL = ("train", "val", "test")


def load_split(
    ann_file: str | Path,
    split: str | None,
    data_root: str | Path | None,
    version: str | None = None,
    require: Sequence[str] = (),
) -> InfoFile:
    """The infos of a split's scenes.

    Args:
        ann_file: info file. Scenes that it lacks are looked for in those beside it that are called
            alike (``..._infos_train.pkl``, ``..._infos_val.pkl``).
        split: name or file (:mod:`pftrack.nuscenes.splits`); None: all of ``ann_file``.
        data_root: the dataset's folder, whose tables tell the scenes' names.
        version, require: as for :func:`load_infos`.

    Raises:
        UserError: from the info files or the split; a scene that no info file has.
    """
    if split is None:
        return load_infos(ann_file, version, require)
    chosen: list[Info] = []
    wanted: set[str] | None = None
    looked = []
    for path in _candidates(Path(ann_file)):
        file = load_infos(path, version, require)
        version = file.version
        looked.append(path.name)
        if wanted is None:
            root = data_root or Path(ann_file).parent
            wanted = set(scenes_of_split(root, version, split))
            names = names_of_scenes(root, version)
        for token, frames in file.scenes.items():
            # A scene goes by its name, or by its token where no table names it.
            found = {names.get(token, token), token} & wanted
            if found:
                wanted -= found
                chosen += [file.infos[i] for i in frames]
        if not wanted:
            break
    assert version is not None
    if wanted:
        raise lacking(split, sorted(wanted), " or ".join(looked))
    chosen = in_scene_order(chosen)
    complete_rig(chosen, rig_of(chosen))
    return InfoFile(chosen, version)


def _candidates(ann_file: Path) -> list[Path]:
    """The file, then those beside it of the other official splits."""
    for split in _OFFICIAL:
        if f"infos_{split}" in ann_file.name:
            others = [
                ann_file.with_name(ann_file.name.replace(f"infos_{split}", f"infos_{other}"))
                for other in _OFFICIAL
                if other != split
            ]
            return [ann_file, *(path for path in others if path.is_file())]
    return [ann_file]
