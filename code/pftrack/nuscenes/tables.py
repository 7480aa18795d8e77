"""nuScenes tables as columns: numpy arrays, with tokens resolved to row numbers.

A tenth of the memory of the tables as Python objects, and every later step works on whole arrays.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pftrack.errors import UserError
from pftrack.nuscenes.json_rows import iter_rows
from pftrack.nuscenes.version_folder import version_folder
from pftrack.structures import CAMERAS

LIDAR = "LIDAR_TOP"
_CHUNK = 100_000

# Columns read from each table, and how they are kept: token and text as bytes and str, the rest as
# numbers of the given kind.
_COLUMNS: dict[str, dict[str, str]] = {
    "scene": {"token": "token", "name": "text"},
    "sample": {"token": "token", "scene_token": "token", "timestamp": "int"},
    "sensor": {"token": "token", "channel": "text"},
    "calibrated_sensor": {
        "token": "token",
        "sensor_token": "token",
        "translation": "float",
        "rotation": "float",
        "camera_intrinsic": "object",
    },
    "ego_pose": {"token": "token", "translation": "float", "rotation": "float"},
    "sample_data": {
        "token": "token",
        "sample_token": "token",
        "ego_pose_token": "token",
        "calibrated_sensor_token": "token",
        "timestamp": "int",
        "is_key_frame": "int",
        "filename": "text",
        "prev": "token",
    },
    "category": {"token": "token", "name": "text"},
    "instance": {"token": "token", "category_token": "token"},
    "sample_annotation": {
        "token": "token",
        "sample_token": "token",
        "instance_token": "token",
        "translation": "float",
        "size": "float",
        "rotation": "float",
        "prev": "token",
        "next": "token",
        "num_lidar_pts": "int",
        "num_radar_pts": "int",
    },
}
_VECTORS = {"translation": 3, "size": 3, "rotation": 4}
Columns = dict[str, Any]


@dataclass
class Tables:
    """The tables of one nuScenes version; ``x_row`` columns hold row numbers (-1: none).

    ``sample_data`` has the rows of cameras at key frames and all rows of LIDAR_TOP, with the
    further columns ``channel``. Without annotations (test split) those tables are empty.
    """

    version: str
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
    small = {name: read_columns(folder, name) for name in ("scene", "sensor", "calibrated_sensor")}
    channels = _sensor_channels(small["sensor"], small["calibrated_sensor"])
    rest = [name for name in _COLUMNS if name not in small]
    read = partial(read_columns, folder, channels=channels)
    if workers > 1:
        # Forked: the readers need nothing but this module, importing it anew takes seconds.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
            jobs = {name: pool.submit(read, name) for name in sorted(rest, reverse=True)}
            columns = {}
            for name, job in jobs.items():
                columns[name] = job.result()
                if progress is not None:
                    progress((folder / f"{name}.json").stat().st_size)
    else:
        columns = {name: read(name, progress=progress) for name in rest}
    small.pop("sensor")
    tables = Tables(version=version, **small, **columns)
    resolve_tokens(tables)
    return tables


def tables_size(root: str | Path, version: str) -> int:
    """Bytes that :func:`load_tables` reports as progress."""
    paths = [Path(root, version, f"{name}.json") for name in _COLUMNS]
    return sum(path.stat().st_size for path in paths if path.exists())


def read_columns(
    folder: Path,
    table: str,
    channels: Mapping[str, str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Columns:
    """One table as columns; of ``sample_data`` only the rows that are used (:class:`Tables`)."""
    kinds = _COLUMNS[table]
    path = folder / f"{table}.json"
    chunks: list[Columns] = []
    rows: list[list[Any]] = []
    names = list(kinds)
    filtered = table == "sample_data"

    def flush() -> None:
        values = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        chunks.append(
            {n: _column(path, n, kinds[n], v) for n, v in zip(names, values, strict=True)}
        )
        rows.clear()

    for number, row in enumerate(iter_rows(path, progress)):
        if filtered and not _is_used(row, channels or {}):
            continue
        try:
            rows.append([row[name] for name in names])
        except (KeyError, TypeError):
            missing = [n for n in names if not isinstance(row, dict) or n not in row]
            raise UserError(f"table {path}, row {number}: no column '{missing[0]}'") from None
        if len(rows) == _CHUNK:
            flush()
    flush()
    return {name: _join([chunk[name] for chunk in chunks]) for name in names}


def _is_used(row: Any, channels: Mapping[str, str]) -> bool:
    """Whether a ``sample_data`` row is of a camera at a key frame or of the lidar."""
    try:
        channel = channels.get(row["calibrated_sensor_token"])
        # An unknown sensor is kept, so that it is reported as dangling.
        return channel in (None, LIDAR) or (row["is_key_frame"] and channel in CAMERAS)
    except (KeyError, TypeError):
        return True


def _column(path: Path, name: str, kind: str, values: Any) -> Any:
    try:
        if kind == "token":
            return np.array(values, dtype=np.bytes_) if values else np.empty(0, "S1")
        if kind == "float":
            return np.array(values, dtype=np.float64).reshape(len(values), _VECTORS[name])
        if kind == "int":
            return np.array(values, dtype=np.int64)
        return list(values)
    except (ValueError, TypeError, UnicodeError) as error:
        raise UserError(f"table {path}, column '{name}': unexpected values ({error})") from None


def _join(chunks: list[Any]) -> Any:
    if isinstance(chunks[0], list):
        return [value for chunk in chunks for value in chunk]
    return np.concatenate(chunks)


def _sensor_channels(sensor: Columns, calibrated: Columns) -> dict[str, str]:
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
    """Add the ``x_row`` columns: tokens of other tables as row numbers."""
    index = {
        name: TokenIndex(name, getattr(tables, name)["token"])
        for name in _COLUMNS
        if name != "sensor"
    }
    links = [
        ("sample", "scene_token", "scene", False),
        ("sample_data", "sample_token", "sample", False),
        ("sample_data", "ego_pose_token", "ego_pose", False),
        ("sample_data", "calibrated_sensor_token", "calibrated_sensor", False),
        ("instance", "category_token", "category", False),
        ("sample_annotation", "sample_token", "sample", False),
        ("sample_annotation", "instance_token", "instance", False),
        ("sample_annotation", "prev", "sample_annotation", True),
        ("sample_annotation", "next", "sample_annotation", True),
    ]
    for table, column, target, optional in links:
        columns = getattr(tables, table)
        tokens = columns[column]
        name = column.removesuffix("_token") + "_row"
        columns[name] = index[target].rows(table, column, tokens, optional)
    data = tables.sample_data
    channels = tables.calibrated_sensor["channel"]
    data["channel"] = np.array([channels[row] for row in data["calibrated_sensor_row"]])
    # Camera rows between key frames were not read: only the lidar's chain is followed.
    lidar = data["channel"] == LIDAR
    data["prev_row"] = np.full(len(lidar), -1)
    data["prev_row"][lidar] = index["sample_data"].rows(
        "sample_data", "prev", data["prev"][lidar], optional=True
    )
