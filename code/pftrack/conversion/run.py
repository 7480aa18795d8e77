"""A nuScenes folder -> info files, with progress; a file appears when it is whole."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pftrack.conversion.convert import Converter
from pftrack.datasets.infos import Info
from pftrack.errors import UserError
from pftrack.files import atomic
from pftrack.nuscenes.facts import LIDAR
from pftrack.nuscenes.splits import lacking, scenes_of_split, split_name
from pftrack.nuscenes.tables import Tables, load_tables, tables_size
from pftrack.nuscenes.versions import INFO_TAG, SPLITS, TEST, info_file_name

# Any Python 3 reads it. It numbers what is referred to later, so that numbers can be used anew.
_PROTOCOL = 3
_BATCH = 100  # infos that share their texts in an info file


def convert_folder(
    root: str | Path,
    version: str,
    out_dir: str | Path,
    extra_tag: str = INFO_TAG,
    forecasting: bool = True,
    workers: int = 0,
    split: str | None = None,
) -> list[Path]:
    """Read the tables of ``root / version`` and write the info files of its splits.

    Scenes whose images are not there (a partial download) are left out, with a line saying so.

    Args:
        split: only this one, by name or file (:mod:`pftrack.nuscenes.splits`), to a file of its
            name; None: the official ones.

    Raises:
        UserError: no such version or split, damaged tables, no scene with images.
    """
    from tqdm import tqdm

    bar: dict[str, Any] = {"unit_scale": True, "mininterval": 0.5, "leave": False}
    size = tables_size(root, version)
    with tqdm(total=size, desc="read tables", unit="B", **bar) as reading:
        tables = load_tables(root, version, workers, reading.update)
    scenes = scenes_with_images(tables, root)
    left_out = len(tables.scene["name"]) - len(scenes)
    if left_out == len(tables.scene["name"]):
        raise UserError(
            f"no camera images of nuScenes {version} below {root}/samples: set NUSCENES / "
            "--root-path to the folder that holds samples/"
        )
    if left_out:
        print(f"left out {left_out} of {len(tables.scene['name'])} scenes without images")

    def track(infos: Iterable[Info], total: int, split: str) -> Iterable[Info]:
        return tqdm(infos, total=total, desc=f"make {split} infos", unit="frame", **bar)

    written = convert_tables(tables, root, out_dir, extra_tag, forecasting, scenes, track, split)
    for path, count in written:
        print(f"wrote {path} ({count} key frames)")
    return [path for path, _ in written]


def convert_tables(
    tables: Tables,
    root: str | Path,
    out_dir: str | Path,
    extra_tag: str = INFO_TAG,
    forecasting: bool = True,
    scenes: set[str] | None = None,
    track: Callable[[Iterable[Info], int, str], Iterable[Info]] | None = None,
    split: str | None = None,
) -> list[tuple[Path, int]]:
    """Write the info files of every split of the tables' version.

    Args:
        root: folder that holds ``samples/``.
        scenes: only these scenes; None: all of the official splits.
        track: wraps the stream of infos for progress, given their number and the split's name.
        split: see :func:`convert_folder`.

    Returns:
        path and number of infos of each file.

    Raises:
        UserError: no scene of the official splits.
    """
    test = tables.version == TEST
    converter = Converter(tables, root, annotations=not test, forecasting=forecasting)
    if split is None:
        wanted = {
            name: scenes_of_split(root, tables.version, name) for name in SPLITS[tables.version]
        }
    else:
        wanted = {split_name(split): scenes_of_split(root, tables.version, split)}
        known = tables.scene["name"] if scenes is None else scenes
        if missing := sorted(set(wanted[split_name(split)]) - set(known)):
            raise lacking(split, missing, f"nuScenes {tables.version} in {root}")
    chosen = {
        of: converter.samples_of(name for name in names if scenes is None or name in scenes)
        for of, names in wanted.items()
    }
    if not any(len(samples) for samples in chosen.values()):
        raise UserError(
            f"no scene of the official splits of nuScenes {tables.version} is in {root}: are these "
            "the tables and images of that version?"
        )
    written = []
    for name, samples in chosen.items():
        if not len(samples):
            print(f"no scene of the {name} split: no file for it")
            continue
        stream = converter.infos(samples)
        path = Path(out_dir) / info_file_name(tables.version, name, extra_tag)
        write_infos(path, track(stream, len(samples), name) if track else stream, tables.version)
        written.append((path, len(samples)))
    return written


def scenes_with_images(tables: Tables, root: str | Path) -> set[str]:
    """Names of the scenes whose first key frame has all its camera images below ``root``."""
    data, sample = tables.sample_data, tables.sample
    first = np.full(len(tables.scene["token"]), -1)
    order = np.argsort(-sample["timestamp"], kind="stable")
    first[sample["scene_row"][order]] = order  # the earliest is written last
    wanted = np.isin(data["sample_row"], first) & (data["is_key_frame"] == 1)
    wanted &= data["channel"] != LIDAR
    incomplete = {
        int(sample["scene_row"][data["sample_row"][row]])
        for row in np.flatnonzero(wanted)
        if not Path(root, data["filename"][row]).is_file()
    }
    return {name for i, name in enumerate(tables.scene["name"]) if i not in incomplete}


def write_infos(path: Path, infos: Iterable[Info], version: str) -> None:
    """Write an info file; it appears under its name only when it is whole.

    The file is one pickle of ``{"infos": [...], "metadata": {"version": ...}}``, written as the
    infos come: its list grows by batches, and what one batch has memorised gives way to the next.
    """
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, _PROTOCOL)

    def dump(value: Any) -> None:
        """The value by itself, without the pickle's head and its last opcode."""
        buffer.seek(0)
        buffer.truncate()
        pickler.dump(value)
        with buffer.getbuffer() as content:
            file.write(content[len(head) : -len(pickle.STOP)])

    with atomic(path, "wb") as file:
        head = pickle.PROTO + bytes([_PROTOCOL])
        file.write(head + pickle.EMPTY_DICT)
        dump("infos")
        file.write(pickle.EMPTY_LIST + pickle.MARK)
        for number, info in enumerate(infos, start=1):
            dump(info)
            if number % _BATCH == 0:
                file.write(pickle.APPENDS + pickle.MARK)
                pickler.clear_memo()
        file.write(pickle.APPENDS + pickle.SETITEM)
        dump("metadata")
        dump({"version": version})
        file.write(pickle.SETITEM + pickle.STOP)
