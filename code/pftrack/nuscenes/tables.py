"""nuScenes tables as columns: numpy arrays, with tokens resolved to row numbers.

A tenth of the memory of the tables as Python objects, and every later step works on whole arrays.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pftrack.errors import UserError
from pftrack.nuscenes.facts import LIDAR, rig_order
from pftrack.nuscenes.table_files import iter_rows
from pftrack.nuscenes.versions import version_folder
from pftrack.processes import end_with_parent

_CHUNK = 20_000

# How columns are kept: numbers as arrays, what is named here otherwise as text; tokens as bytes.
_VECTORS = {"translation": 3, "size": 3, "rotation": 4}
_INTEGERS = ("timestamp", "is_key_frame", "num_lidar_pts", "num_radar_pts", "nbr_samples")
_TEXT = (
    *("name", "channel", "filename", "camera_intrinsic", "visibility_token"),
    *("description", "location", "modality"),
)
_UNIT = 1e-2  # by how much the length of a quaternion may differ from one
_LIMITS = {
    "translation": "finite numbers",
    "size": "positive numbers",
    "rotation": "a unit quaternion",
    "timestamp": "a positive number",
    "camera_intrinsic": "a 3 x 3 camera matrix",
    **dict.fromkeys(
        ("is_key_frame", "num_lidar_pts", "num_radar_pts", "nbr_samples"), "no negative number"
    ),
}
# What :func:`load_tables` reads.
_COLUMNS = {
    "scene": ("token", "name"),
    "sample": ("token", "scene_token", "timestamp"),
    "sensor": ("token", "channel", "modality"),
    "calibrated_sensor": ("token", "sensor_token", "translation", "rotation", "camera_intrinsic"),
    "ego_pose": ("token", "translation", "rotation"),
    "sample_data": (
        *("token", "sample_token", "ego_pose_token", "calibrated_sensor_token", "timestamp"),
        *("is_key_frame", "filename", "prev"),
    ),
    "category": ("token", "name"),
    "instance": ("token", "category_token"),
    "sample_annotation": (
        *("token", "sample_token", "instance_token", "translation", "size", "rotation"),
        *("prev", "next", "num_lidar_pts", "num_radar_pts"),
    ),
}
# Which columns hold the tokens of a table: (table, column, whether one may be empty).
_LINKS = {
    "scene": [("sample", "scene_token", False)],
    "sample": [
        ("sample_data", "sample_token", False),
        ("sample_annotation", "sample_token", False),
    ],
    "ego_pose": [("sample_data", "ego_pose_token", False)],
    "calibrated_sensor": [("sample_data", "calibrated_sensor_token", False)],
    "category": [("instance", "category_token", False)],
    "instance": [("sample_annotation", "instance_token", False)],
    "sample_annotation": [("sample_annotation", "prev", True), ("sample_annotation", "next", True)],
}
Row = Mapping[str, Any]
Columns = dict[str, Any]


@dataclass
class Tables:
    """The tables of one nuScenes version; ``x_row`` columns hold row numbers (-1: none) and stand
    in place of the tokens of other tables.

    ``sample_data`` has the rows of cameras at key frames and all rows of LIDAR_TOP, with the
    further columns ``channel``; ``ego_pose`` those that they refer to, without tokens; ``cameras``
    are the channels of cameras, in the order of the network. Without annotations (test split) those
    tables are empty.
    """

    version: str
    cameras: tuple[str, ...]
    scene: Columns
    sample: Columns
    sample_data: Columns
    calibrated_sensor: Columns
    ego_pose: Columns
    category: Columns
    instance: Columns
    sample_annotation: Columns


def load_tables(
    root: str | Path,
    version: str,
    workers: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Tables:
    """Read the tables below ``root / version``.

    Args:
        workers: processes that read tables side by side; below 2: none.
        progress: told the number of bytes read since the last call.

    Raises:
        UserError: a missing or damaged table, a row without a column, a dangling token.
    """
    folder = version_folder(root, version)
    first = ("scene", "sensor", "calibrated_sensor")
    small = {name: read_columns(folder, name, _COLUMNS[name]) for name in first}
    channels = sensor_channels(small["sensor"], small["calibrated_sensor"])
    cameras = rig_order(
        channel
        for channel, kind in zip(
            small["sensor"]["channel"], small["sensor"]["modality"], strict=True
        )
        if kind == "camera"
    )
    rest = [name for name in _COLUMNS if name not in small]
    read = partial(_read_table, folder, channels, cameras)
    if workers > 1:
        # Forked: the readers need nothing but this module, importing it anew takes seconds.
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(workers, context, initializer=end_with_parent) as pool:
            jobs = {name: pool.submit(read, name) for name in sorted(rest, reverse=True)}
            columns = {}
            for name, job in jobs.items():
                columns[name] = job.result()
                if progress is not None:
                    progress((folder / f"{name}.json").stat().st_size)
    else:
        columns = {name: read(name, progress=progress) for name in rest}
    small.pop("sensor")
    tables = Tables(version=version, cameras=cameras, **small, **columns)
    resolve_tokens(tables)
    return tables


def tables_size(root: str | Path, version: str) -> int:
    """Bytes that :func:`load_tables` reports as progress."""
    paths = [Path(root, version, f"{name}.json") for name in _COLUMNS]
    return sum(path.stat().st_size for path in paths if path.exists())


def read_columns(
    folder: Path,
    table: str,
    names: Sequence[str],
    keep: Callable[[Row], bool] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Columns:
    """Columns of one table: vectors [n, 3 or 4] and numbers [n], tokens as bytes, else lists.

    Args:
        names: of the columns.
        keep: only rows for which it is true.
        progress: see :func:`iter_rows`.

    Raises:
        UserError: no such table, damaged, a row without a column, a value of another kind.
    """
    path = folder / f"{table}.json"
    chunks: list[Columns] = []
    rows: list[list[Any]] = []

    def flush() -> None:
        values = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        chunks.append({n: _column(path, n, v) for n, v in zip(names, values, strict=True)})
        rows.clear()

    for number, row in enumerate(iter_rows(path, progress)):
        try:
            if keep is None or keep(row):
                rows.append([row[name] for name in names])
        except KeyError as error:
            raise UserError(f"table {path}, row {number}: no column {error}") from None
        except TypeError:
            raise UserError(f"table {path}, row {number}: not an object with columns") from None
        if len(rows) == _CHUNK:
            flush()
    flush()
    columns = {name: _join([chunk[name] for chunk in chunks]) for name in names}
    for name, values in columns.items():
        wrong = _wrong_rows(name, values)
        if wrong is not None and wrong.any():
            row = int(np.argmax(wrong))
            raise UserError(
                f"table {path}, column '{name}': {_LIMITS[name]} expected, not "
                f"{values[row] if isinstance(values, list) else values[row].tolist()}"
            )
    return columns


def _read_table(
    folder: Path,
    channels: Mapping[str, str],
    cameras: Sequence[str],
    table: str,
    progress: Callable[[int], object] | None = None,
) -> Columns:
    def of_camera_key_frame_or_lidar(row: Row) -> bool:
        channel = channels.get(row["calibrated_sensor_token"])
        # An unknown sensor is kept, so that it is reported as dangling.
        return channel in (None, LIDAR) or (row["is_key_frame"] and channel in cameras)

    keep = of_camera_key_frame_or_lidar if table == "sample_data" else None
    return read_columns(folder, table, _COLUMNS[table], keep, progress)


def _column(path: Path, name: str, values: Any) -> Any:
    try:
        if name in _VECTORS:
            numbers = _numbers(values, "fiu").astype(np.float64, copy=False)
            return numbers.reshape(len(values), _VECTORS[name])
        if name in _INTEGERS:
            return _numbers(values, "biu").astype(np.int64, copy=False)
        if name in ("camera_intrinsic", "visibility_token"):
            return list(values)
        if not {str}.issuperset(map(type, values)):
            raise TypeError("texts expected")
        if name in _TEXT:
            return list(values)
        return np.array(values, dtype=np.bytes_) if values else np.empty(0, "S1")
    except (ValueError, TypeError, UnicodeError, OverflowError) as error:
        raise UserError(f"table {path}, column '{name}': unexpected values ({error})") from None


def _numbers(values: Any, kinds: str) -> np.ndarray:
    array = np.array(values) if values else np.zeros(0, np.int64)
    if array.dtype.kind not in kinds:
        raise TypeError("numbers expected")
    return array


def _wrong_rows(name: str, values: Any) -> np.ndarray | None:
    """[n] rows of a column whose values make no sense; None: any value does."""
    if name in _VECTORS:
        wrong = ~np.isfinite(values).all(axis=1)
        if name == "rotation":
            wrong |= np.abs(np.linalg.norm(values, axis=1) - 1) > _UNIT
        elif name == "size":
            wrong |= (values <= 0).any(axis=1)
        return wrong
    if name in _INTEGERS:
        low = 1 if name == "timestamp" else 0
        return values < low
    if name == "camera_intrinsic":
        return np.array([bool(value) and not _is_camera(value) for value in values], dtype=bool)
    return None


def _is_camera(value: Any) -> bool:
    """Whether it is a 3 x 3 matrix with positive focal lengths."""
    try:
        k = _numbers(value, "fiu")
    except (TypeError, ValueError):
        return False
    return k.shape == (3, 3) and bool(np.isfinite(k).all() and k[0, 0] > 0 and k[1, 1] > 0)


def _join(chunks: list[Any]) -> Any:
    if isinstance(chunks[0], list):
        return [value for chunk in chunks for value in chunk]
    return np.concatenate(chunks)


def sensor_channels(sensor: Columns, calibrated: Columns) -> dict[str, str]:
    """Channel of each ``calibrated_sensor`` token; also adds the column ``channel`` to them."""
    rows = TokenIndex("sensor", sensor["token"]).rows(
        "calibrated_sensor", "sensor_token", calibrated["sensor_token"]
    )
    tokens = calibrated["token"].astype(str)
    calibrated["channel"] = [sensor["channel"][row] for row in rows]
    return dict(zip(tokens.tolist(), calibrated["channel"], strict=True))


class TokenIndex:
    """Row numbers of a table's tokens."""

    def __init__(self, table: str, tokens: np.ndarray) -> None:
        self.table = table
        self.order = np.argsort(tokens, kind="stable")
        self.tokens = tokens[self.order]
        twice = np.flatnonzero(self.tokens[1:] == self.tokens[:-1])
        if len(twice):
            raise UserError(
                f"table {table}: the token '{self.tokens[twice[0]].decode()}' is there "
                f"{1 + int((self.tokens[1:] == self.tokens[twice[0]]).sum())} times: the nuScenes "
                "metadata is damaged, unpack it again"
            )

    def rows(
        self, table: str, column: str, tokens: np.ndarray, optional: bool = False
    ) -> np.ndarray:
        """Row number of each of ``tokens``, the column ``table.column``.

        Args:
            optional: an empty token is allowed and gives -1.

        Raises:
            UserError: a token that this table does not have.
        """
        if not len(self.tokens):
            rows, found = np.full(len(tokens), -1), np.zeros(len(tokens), dtype=bool)
        else:
            at = np.searchsorted(self.tokens, tokens).clip(max=len(self.tokens) - 1)
            rows, found = self.order[at], self.tokens[at] == tokens
        empty = tokens == b"" if optional else np.zeros(len(tokens), dtype=bool)
        dangling = np.flatnonzero(~found & ~empty)
        if len(dangling):
            raise UserError(
                f"table {table}: {column} '{tokens[dangling[0]].decode()}' is not in table "
                f"{self.table} ({len(dangling)} dangling tokens in all): the nuScenes metadata is "
                "incomplete or mixed, unpack it again"
            )
        return np.where(found, rows, -1)


def resolve_tokens(tables: Tables) -> None:
    """Put ``x_row`` columns in place of tokens of other tables, and keep used ego poses only."""
    for target, links in _LINKS.items():
        index = TokenIndex(target, getattr(tables, target)["token"])
        for table, column, optional in links:
            columns = getattr(tables, table)
            name = column.removesuffix("_token") + "_row"
            columns[name] = index.rows(table, column, columns.pop(column), optional)
    _check_chain("sample_annotation", tables.sample_annotation, _times(tables))
    data = tables.sample_data
    channels = tables.calibrated_sensor["channel"]
    data["channel"] = np.array([channels[row] for row in data["calibrated_sensor_row"]])
    # Camera rows between key frames were not read: only the lidar's chain is followed.
    lidar = data["channel"] == LIDAR
    previous = data.pop("prev")[lidar]
    data["prev_row"] = np.full(len(lidar), -1)
    data["prev_row"][lidar] = TokenIndex("sample_data", data["token"]).rows(
        "sample_data", "prev", previous, optional=True
    )
    _check_chain("sample_data", data, data["timestamp"])
    used, data["ego_pose_row"] = np.unique(data["ego_pose_row"], return_inverse=True)
    tables.ego_pose = {name: tables.ego_pose[name][used] for name in ("translation", "rotation")}


def _times(tables: Tables) -> np.ndarray:
    """[n] time of each annotation's sample."""
    return tables.sample["timestamp"][tables.sample_annotation["sample_row"]]


def _check_chain(table: str, columns: Columns, time: np.ndarray) -> None:
    """Refuse a ``prev`` that is not earlier or a ``next`` that is not later: no chain is a ring."""
    for name, sign in (("prev_row", -1), ("next_row", 1)):
        if name not in columns:
            continue
        rows = np.flatnonzero(columns[name] >= 0)
        wrong = rows[sign * (time[columns[name][rows]] - time[rows]) <= 0]
        if len(wrong):
            raise UserError(
                f"table {table}, row '{columns['token'][wrong[0]].decode()}': "
                f"{name.removesuffix('_row')} is not {'later' if sign > 0 else 'earlier'}: the "
                "nuScenes metadata is damaged, unpack it again"
            )
