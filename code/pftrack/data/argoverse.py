"""Argoverse 2's sensor data set: tables in Arrow's feather format (Wilson et al., 2021).

::

    SOURCE/                              one of its splits: a folder of logs
      LOG/
        calibration/intrinsics.feather             sensor_name fx_px fy_px cx_px cy_px ...
        calibration/egovehicle_SE3_sensor.feather  sensor_name qw qx qy qz tx_m ty_m tz_m
        city_SE3_egovehicle.feather                timestamp_ns qw qx qy qz tx_m ty_m tz_m
        annotations.feather                        timestamp_ns track_uuid category length_m width_m
                                                   height_m qw ... tz_m num_interior_pts
        sensors/cameras/NAME/TIMESTAMP.jpg
        sensors/lidar/TIMESTAMP.feather            where annotations are missing: its times

A key frame is a sweep of the lidar, 0.1 s after the one before; annotations are in the frame of the
vehicle at that time. Images are taken as free of distortion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pftrack import geometry
from pftrack.data.records import Box, KeyFrame, Pose, Recording, RigCamera
from pftrack.errors import UserError
from pftrack.extras import require

INTRINSICS, MOUNTS = "calibration/intrinsics.feather", "calibration/egovehicle_SE3_sensor.feather"
POSES, ANNOTATIONS = "city_SE3_egovehicle.feather", "annotations.feather"
SURROUND = "ring_"  # the other two cameras are a stereo pair
NEAR = 50_000_000  # ns: the nearest image and the nearest pose are no further from their moment
LARGEST = 1 << 30  # bytes of a table
CLASSES = {
    "REGULAR_VEHICLE": "car",
    "LARGE_VEHICLE": "truck",
    "BOX_TRUCK": "truck",
    "TRUCK": "truck",
    "TRUCK_CAB": "truck",
    "BUS": "bus",
    "SCHOOL_BUS": "bus",
    "ARTICULATED_BUS": "bus",
    "VEHICULAR_TRAILER": "trailer",
    "MESSAGE_BOARD_TRAILER": "trailer",
    "TRAFFIC_LIGHT_TRAILER": "trailer",
    "MOTORCYCLE": "motorcycle",
    "BICYCLE": "bicycle",
    "PEDESTRIAN": "pedestrian",
    "OFFICIAL_SIGNALER": "pedestrian",
    "CONSTRUCTION_CONE": "traffic_cone",
}
# Riders have a box beside that of what they ride; the others have no class of nuScenes.
IGNORED = (
    *("BICYCLIST", "MOTORCYCLIST", "WHEELED_RIDER", "WHEELED_DEVICE", "WHEELCHAIR", "STROLLER"),
    *("ANIMAL", "DOG", "BOLLARD", "SIGN", "STOP_SIGN", "CONSTRUCTION_BARREL", "RAILED_VEHICLE"),
    "MOBILE_PEDESTRIAN_CROSSING_SIGN",
)
TURN = ("qw", "qx", "qy", "qz")
PLACE = ("tx_m", "ty_m", "tz_m")


def read_recordings(source: Path, every: int = 5) -> Iterator[Recording]:
    """The logs of a folder, in the order of their names.

    Args:
        every: take every so-manieth sweep; 5 makes the 2 Hz of nuScenes.

    Raises:
        UserError: no log, a file that is not what it should be, pyarrow is missing.
    """
    require_pyarrow()
    paths = sorted(source.glob(f"*/{POSES}"))
    if not paths:
        raise UserError(
            f"no */{POSES} in {source}: it must be a split of the sensor data set, a folder of logs"
        )
    for path in paths:
        yield read_recording(path.parent, every)


def read_recording(folder: Path, every: int) -> Recording:
    """One log; see :func:`read_recordings`."""
    cameras = _cameras(folder)
    poses = _Poses.read(folder / POSES)
    boxes = _Boxes.read(folder / ANNOTATIONS) if (folder / ANNOTATIONS).exists() else None
    times = _times_of(folder / "sensors" / "lidar", ".feather") if boxes is None else boxes.times
    if not len(times):
        raise UserError(f"{folder}: neither {ANNOTATIONS} nor a sweep in sensors/lidar")
    images = {c.name: _images(folder / "sensors" / "cameras" / c.name) for c in cameras}
    frames = []
    for time in times[::every]:
        pose = poses.at(int(time))
        if pose is None:
            raise UserError(f"{folder / POSES} has no pose within 50 ms of the time {time}")
        taken = {name: _nearest(moments, int(time)) for name, (moments, _) in images.items()}
        shown = {name: at for name, at in taken.items() if at is not None}
        frames.append(
            KeyFrame(
                time=float(time) * 1e-9,
                ego2global=pose,
                images={name: images[name][1][at] for name, at in shown.items()},
                boxes=() if boxes is None else boxes.at(int(time), pose),
                exposures={
                    name: exposure
                    for name, at in shown.items()
                    if (exposure := poses.at(int(images[name][0][at]))) is not None
                },
            )
        )
    return Recording(folder.name, cameras, tuple(frames), location=_city(folder))


def require_pyarrow() -> Any:
    """pyarrow's reader of feather files.

    Raises:
        UserError: it is not installed.
    """
    return require("pyarrow.feather", "argoverse", "an Argoverse 2 table")


def read_table(path: Path, texts: tuple[str, ...], numbers: tuple[str, ...]) -> dict[str, Any]:
    """Columns of a feather file: lists of str, float64 arrays, and int64 of names ending in _ns.

    Raises:
        UserError: not readable, a column is missing, or is not of its kind, or not finite.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is too large")
        table = require_pyarrow().read_table(path, memory_map=False)
        table.validate(full=True)  # a damaged file must not lead beyond its own buffers
    except OSError as error:  # Arrow's own errors too
        raise UserError(f"cannot read {path}: {_line(error)}") from None
    except (ValueError, RuntimeError, MemoryError, NotImplementedError, KeyError) as error:
        raise UserError(f"{path} is no feather file: {_line(error)}") from None
    columns: dict[str, Any] = {}
    for name in (*texts, *numbers):
        if name not in table.column_names:
            raise UserError(
                f"{path}: no column '{name}', there are {', '.join(table.column_names)}"
            )
        try:
            values = table.column(name).to_pylist()
            if name in texts:
                if not all(isinstance(value, str) and value for value in values):
                    raise ValueError("texts are wanted")
                columns[name] = values
                continue
            whole = name.endswith("_ns")
            columns[name] = np.array(values, dtype=np.int64 if whole else np.float64)
            if columns[name].ndim != 1 or not np.isfinite(columns[name]).all():
                raise ValueError("finite numbers are wanted")
        except (ValueError, TypeError, OverflowError) as error:
            raise UserError(f"{path}, column '{name}': {_line(error)}") from None
    return columns


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _cameras(folder: Path) -> tuple[RigCamera, ...]:
    """The cameras around the vehicle."""
    sizes = ("fx_px", "fy_px", "cx_px", "cy_px")
    inside = read_table(folder / INTRINSICS, ("sensor_name",), sizes)
    mounts = read_table(folder / MOUNTS, ("sensor_name",), (*TURN, *PLACE))
    mounted = dict(zip(mounts["sensor_name"], _poses(mounts), strict=True))
    cameras = []
    for i, name in enumerate(inside["sensor_name"]):
        if not name.startswith(SURROUND):
            continue
        if Path(name).name != name:
            raise UserError(f"{folder / INTRINSICS}: sensor '{name}' is no name of a folder")
        if name not in mounted:
            raise UserError(f"{folder / MOUNTS}: no sensor '{name}', which {INTRINSICS} has")
        fx, fy, cx, cy = (float(inside[size][i]) for size in sizes)
        matrix = ((fx, 0.0, cx), (0.0, fy, cy), (0.0, 0.0, 1.0))
        cameras.append(RigCamera(name, matrix, mounted[name]))
    return tuple(cameras)


def _poses(table: Mapping[str, np.ndarray]) -> list[Pose]:
    """Rotation and translation of every row."""
    turns, places = (np.stack([table[c] for c in names], -1) for names in (TURN, PLACE))
    return [
        ((w, x, y, z), (tx, ty, tz))
        for (w, x, y, z), (tx, ty, tz) in zip(turns.tolist(), places.tolist(), strict=True)
    ]


@dataclass(frozen=True)
class _Poses:
    """Of the vehicle, by time; ns."""

    times: np.ndarray
    poses: list[Pose]

    @classmethod
    def read(cls, path: Path) -> _Poses:
        table = read_table(path, (), ("timestamp_ns", *TURN, *PLACE))
        order = np.argsort(table["timestamp_ns"], kind="stable")
        poses = _poses(table)
        return cls(table["timestamp_ns"][order], [poses[i] for i in order])

    def at(self, time: int) -> Pose | None:
        """The nearest in time; None: there is none near."""
        found = _nearest(self.times, time)
        return None if found is None else self.poses[found]


@dataclass(frozen=True)
class _Boxes:
    """Annotations by time; ns.  times: [n] sorted."""

    times: np.ndarray
    rows: dict[int, np.ndarray]
    table: dict[str, Any]
    path: Path

    @classmethod
    def read(cls, path: Path) -> _Boxes:
        sizes = ("width_m", "length_m", "height_m")
        numbers = ("timestamp_ns", *sizes, *TURN, *PLACE, "num_interior_pts")
        table = read_table(path, ("track_uuid", "category"), numbers)
        for name in set(table["category"]):
            if name not in CLASSES and name not in IGNORED:
                raise UserError(
                    f"{path}: unknown category '{name}', known are {', '.join(CLASSES)}"
                )
        times, first = np.unique(table["timestamp_ns"], return_inverse=True)
        order = np.argsort(first, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(first[order])) + 1) if len(order) else []
        return cls(times, dict(zip(times.tolist(), groups, strict=True)), table, path)

    def at(self, time: int, pose: Pose) -> tuple[Box, ...]:
        """Boxes of a sweep, from the vehicle's frame at ``pose`` to the global one."""
        table, rows = self.table, self.rows[time]
        turns, places, sizes = (
            np.stack([table[c][rows] for c in names], -1)
            for names in (TURN, PLACE, ("width_m", "length_m", "height_m"))
        )
        centers = geometry.transform_points(places, geometry.pose_matrix(*pose))
        headings = geometry.quaternion_multiply(np.asarray(pose[0]), turns)
        return tuple(
            Box(
                id=table["track_uuid"][row],
                name=CLASSES[table["category"][row]],
                center=tuple(centers[i].tolist()),
                size=tuple(sizes[i].tolist()),
                rotation=tuple(headings[i].tolist()),
                points=int(table["num_interior_pts"][row]),
            )
            for i, row in enumerate(rows.tolist())
            if table["category"][row] in CLASSES
        )


def _images(folder: Path) -> tuple[np.ndarray, list[Path]]:
    """Times, ns, and files of a camera's images, in order."""
    times = _times_of(folder, ".jpg")
    return times, [folder / f"{time}.jpg" for time in times.tolist()]


def _times_of(folder: Path, suffix: str) -> np.ndarray:
    """The times that files are called by, ns, in order; other files are none."""
    names = [p.stem for p in folder.glob(f"*{suffix}") if re.fullmatch(r"[0-9]{1,19}", p.stem)]
    return np.array(sorted(time for time in map(int, names) if time < 1 << 63), dtype=np.int64)


def _nearest(times: np.ndarray, time: int) -> int | None:
    """Where the nearest of sorted times stands; None: none is near."""
    if not len(times):
        return None
    after = int(np.searchsorted(times, time))
    found = min(
        (i for i in (after - 1, after) if 0 <= i < len(times)),
        key=lambda i: abs(int(times[i]) - time),
    )
    return found if abs(int(times[found]) - time) <= NEAR else None


def _city(folder: Path) -> str:
    """By the name of the log's map, ``log_map_archive_<log>____PIT_city_1.json``."""
    for path in sorted(folder.glob("map/log_map_archive_*.json")):
        if found := re.search(r"_([A-Z]{3})_city_\d+$", path.stem):
            return found[1]
    return "unknown"
