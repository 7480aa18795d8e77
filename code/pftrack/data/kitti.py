"""KITTI's tracking benchmark: text labels, calibration and GPS/IMU records (Geiger et al., 2012).

::

    SOURCE/                        the benchmark's training/ folder
      image_02/0000/000000.png     left colour camera; image_03: right
      calib/0000.txt               P2: ..., R_rect: ..., Tr_imu_velo: ..., Tr_velo_cam: ...
      oxts/0000.txt                a frame a line: lat lon alt roll pitch yaw ...
      label_02/0000.txt            frame id type truncated occluded alpha x1 y1 x2 y2 h w l x y z ry

The format has no times: frames are 0.1 s apart. What KITTI calls the IMU is the ego frame; labels
lie in the rectified camera frame, their origin at the bottom of the box.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pftrack import geometry
from pftrack.data.records import Box, KeyFrame, Pose, Quaternion, Recording, RigCamera, Vector
from pftrack.errors import UserError

PERIOD = 0.1  # s
START = 1.0  # s, of the first frame: times are positive
EARTH = 6_378_137.0  # m, radius of the Mercator projection
CAMERAS = {"image_02": "P2", "image_03": "P3"}
CLASSES = {
    "Car": "car",
    "Van": "car",
    "Truck": "truck",
    "Pedestrian": "pedestrian",
    "Person": "pedestrian",
    "Person_sitting": "pedestrian",
    "Cyclist": "bicycle",
}
IGNORED = ("DontCare", "Tram", "Misc")


def read_recordings(source: Path, every: int = 5) -> Iterator[Recording]:
    """The sequences of a folder.

    Args:
        every: take every so-manieth frame; 5 makes the 2 Hz of nuScenes.

    Raises:
        UserError: no sequence, or a file that is not what it should be.
    """
    paths = sorted(source.glob("calib/*.txt"))
    if not paths:
        raise UserError(f"no calib/*.txt in {source}: it must be the benchmark's training/ folder")
    for path in paths:
        yield read_recording(source, path.stem, every)


def read_recording(source: Path, name: str, every: int) -> Recording:
    """One sequence; see :func:`read_recordings`."""
    path = source / "calib" / f"{name}.txt"
    entries = _read_calibration(path)
    rectify, velo2cam, imu2velo = (
        _matrix(path, entries, *keys)
        for keys in (
            ("R_rect", "R0_rect"),
            ("Tr_velo_cam", "Tr_velo_to_cam"),
            ("Tr_imu_velo", "Tr_imu_to_velo"),
        )
    )
    rect2imu = np.linalg.inv(rectify @ velo2cam @ imu2velo)
    cameras = tuple(
        _camera(folder, _projection(path, entries, key), rect2imu)
        for folder, key in CAMERAS.items()
        if (source / folder / name).is_dir()
    )
    poses = _read_poses(source / "oxts" / f"{name}.txt")
    labels = source / "label_02" / f"{name}.txt"
    boxes = _read_boxes(labels, poses, rect2imu) if labels.exists() else {}
    frames = tuple(
        KeyFrame(
            time=START + PERIOD * number,
            ego2global=_pose(poses[number]),
            images={
                folder: image
                for folder in (camera.name for camera in cameras)
                if (image := source / folder / name / f"{number:06d}.png").is_file()
            },
            boxes=tuple(boxes.get(number, ())),
        )
        for number in range(0, len(poses), every)
    )
    return Recording(name, cameras, frames, location="karlsruhe")


def _camera(name: str, projection: np.ndarray, rect2imu: np.ndarray) -> RigCamera:
    """From P = K [I | t]: the camera stands at -t in the rectified frame."""
    k = projection[:, :3]
    offset = np.eye(4)
    offset[:3, 3] = -np.linalg.inv(k) @ projection[:, 3]
    matrix = k / k[2, 2]
    rows = tuple(_vector(row) for row in matrix)
    return RigCamera(name, (rows[0], rows[1], rows[2]), _pose(rect2imu @ offset))


def _read_boxes(path: Path, poses: list[np.ndarray], rect2imu: np.ndarray) -> dict[int, list[Box]]:
    """Boxes by frame, in the global frame."""
    boxes: dict[int, list[Box]] = {}
    for number, words in _lines(path):
        where = f"{path}, line {number}"
        if len(words) < 17:
            raise UserError(f"{where}: {len(words)} fields, 17 are wanted")
        kind = words[2]
        if kind in IGNORED:
            continue
        if kind not in CLASSES:
            raise UserError(f"{where}: unknown type '{kind}', known are {', '.join(CLASSES)}")
        values = _numbers(where, [words[0], *words[10:17]])
        frame = int(values[0])
        if not 0 <= frame < len(poses):
            raise UserError(f"{where}: frame {frame} has no line in oxts/{path.name}")
        height, width, length, x, y, z, turn = values[1:]
        _check_angles(where, turn)
        # The camera's y axis points down; a heading of 0 looks along its x axis.
        local = np.eye(4)
        local[:3, 3] = (x, y - height / 2, z)
        cos, sin = math.cos(turn), math.sin(turn)
        turned = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        local[:3, :3] = turned @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # box z up
        rotation, center = _pose(poses[frame] @ rect2imu @ local)
        boxes.setdefault(frame, []).append(
            Box(words[1], CLASSES[kind], center, (width, length, height), rotation)
        )
    return boxes


def _read_poses(path: Path) -> list[np.ndarray]:
    """[4, 4] IMU to global of every frame, by Mercator's projection; the first is at 0, 0, 0."""
    rows = []
    for number, words in _lines(path):
        if len(words) < 6:
            raise UserError(f"{path}, line {number}: {len(words)} fields, 6 or more are wanted")
        rows.append(_numbers(f"{path}, line {number}", words[:6]))
        _check_angles(f"{path}, line {number}", *rows[-1][3:])
    if not rows:
        raise UserError(f"{path} is empty")
    scale = math.cos(math.radians(rows[0][0]))
    poses = []
    for lat, lon, alt, roll, pitch, yaw in rows:
        pose = np.eye(4)
        pose[:3, :3] = _euler(roll, pitch, yaw)
        pose[:3, 3] = (
            scale * EARTH * math.radians(lon),
            scale * EARTH * math.log(math.tan(math.pi / 4 + math.radians(lat) / 2)),
            alt,
        )
        poses.append(pose)
    start = poses[0][:3, 3].copy()
    for pose in poses:
        pose[:3, 3] -= start
    return poses


def _check_angles(where: str, *angles: float) -> None:
    for angle in angles:
        if abs(angle) > 2 * math.pi:
            raise UserError(f"{where}: an angle of {angle:g}: the benchmark's are in radians")


def _euler(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """Rz(yaw) Ry(pitch) Rx(roll)."""
    (cr, sr), (cp, sp), (cy, sy) = ((math.cos(a), math.sin(a)) for a in (roll, pitch, yaw))
    x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return z @ y @ x


def _read_calibration(path: Path) -> dict[str, np.ndarray]:
    entries = {}
    for number, words in _lines(path):
        entries[words[0].rstrip(":")] = np.array(_numbers(f"{path}, line {number}", words[1:]))
    return entries


def _matrix(path: Path, entries: dict[str, np.ndarray], *keys: str) -> np.ndarray:
    """[4, 4] of a 3 x 3 or 3 x 4 entry, by its name or its older one."""
    values = next((entries[key] for key in keys if key in entries), None)
    if values is None or values.size not in (9, 12):
        raise UserError(f"{path}: no entry '{keys[0]}' of 9 or 12 numbers")
    matrix = np.eye(4)
    rows = values.reshape(3, -1)
    matrix[:3, : rows.shape[1]] = rows
    return matrix


def _projection(path: Path, entries: dict[str, np.ndarray], key: str) -> np.ndarray:
    values = entries.get(key)
    if values is None or values.size != 12 or abs(np.linalg.det(values.reshape(3, 4)[:, :3])) < 1:
        raise UserError(f"{path}: no entry '{key}' of 12 numbers, a projection")
    return values.reshape(3, 4)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and words of every line that has any."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if words := line.split():
                    yield number, words
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text") from None


def _numbers(where: str, words: list[str]) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    if not all(math.isfinite(value) for value in values):
        raise UserError(f"{where}: a number is not finite")
    return values


def _pose(matrix: np.ndarray) -> Pose:
    w, x, y, z = geometry.matrix_to_quaternion(matrix[:3, :3]).tolist()
    quaternion: Quaternion = (w, x, y, z)
    return quaternion, _vector(matrix[:3, 3])


def _vector(values: np.ndarray) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
