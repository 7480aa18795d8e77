"""A robot's folders: images, a calibration JSON and a poses CSV for each recording.

::

    SOURCE/
      monday/                      a recording, by its name
        calibration.json           {"cameras": {"front": {"intrinsic": [[...]],
                                     "rotation": [w, x, y, z], "translation": [x, y, z]}}}
        poses.csv                  frame,time,x,y,z,qw,qx,qy,qz       ego in the global frame
        images/front/000000.jpg    the frame's name, .jpg or .png; a missing one is a dropout
        boxes.csv                  frame,id,class,x,y,z,width,length,height,yaw   global; optional
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from pftrack.data.plausibility import check_yaw
from pftrack.data.records import Box, KeyFrame, Quaternion, Recording, RigCamera, Vector
from pftrack.errors import UserError
from pftrack.files import read_json

CALIBRATION, POSES, BOXES, IMAGES = "calibration.json", "poses.csv", "boxes.csv", "images"
SUFFIXES = (".jpg", ".jpeg", ".png")
_LARGEST = 1 << 30  # bytes of a CSV file
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class CameraEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A camera of ``calibration.json``; rotation and translation take the camera to the ego."""

    intrinsic: tuple[Vector, Vector, Vector]
    rotation: Quaternion
    translation: Vector


class Calibration(msgspec.Struct, frozen=True):
    """``calibration.json``."""

    cameras: dict[Text, CameraEntry]
    location: str = "unknown"
    description: str = ""


class PoseRow(msgspec.Struct, frozen=True):
    """A row of ``poses.csv``."""

    frame: Text
    time: float
    x: float
    y: float
    z: float
    qw: float
    qx: float
    qy: float
    qz: float


class BoxRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``boxes.csv``; yaw in radians about the global z axis, from x to y."""

    frame: Text
    id: Text
    class_: Text = msgspec.field(name="class")
    x: float
    y: float
    z: float
    width: float
    length: float
    height: float
    yaw: float
    points: int = 1


def read_recordings(source: Path, every: int = 1) -> Iterator[Recording]:
    """The recordings of a folder, in the order of their names.

    Args:
        every: take every so-manieth row of the poses.

    Raises:
        UserError: no recording, or a file that is not what it should be.
    """
    if not source.is_dir():
        raise UserError(f"no folder {source}")
    folders = sorted(path.parent for path in source.glob(f"*/{CALIBRATION}"))
    if not folders:
        raise UserError(f"no recording in {source}: one is a folder with {CALIBRATION} in it")
    for folder in folders:
        yield read_recording(folder, every)


def read_recording(folder: Path, every: int = 1) -> Recording:
    """One recording; see :func:`read_recordings`."""
    remedy = "docs/own_data.md shows one"
    calibration = read_json(folder / CALIBRATION, Calibration, "the calibration", remedy)
    cameras = tuple(
        RigCamera(name, entry.intrinsic, (entry.rotation, entry.translation))
        for name, entry in calibration.cameras.items()
    )
    known = {camera.name for camera in cameras}
    for entry in sorted((folder / IMAGES).glob("*/")):
        if entry.is_dir() and entry.name not in known:
            raise UserError(
                f"{entry}: unknown camera '{entry.name}', {CALIBRATION} has "
                f"{', '.join(sorted(known))}"
            )
    poses = list(read_csv(folder / POSES, PoseRow))
    names = {row.frame for row in poses}
    if wrong := next((name for name in names if Path(name).name != name), None):
        raise UserError(f"{folder / POSES}: frame '{wrong}' is no name of a file")
    if not poses:
        raise UserError(f"{folder / POSES} has no key frame")
    boxes: dict[str, list[Box]] = {}
    if (folder / BOXES).exists():
        for number, row in enumerate(read_csv(folder / BOXES, BoxRow), 2):
            where = f"{folder / BOXES}, line {number}"
            if row.frame not in names:
                raise UserError(f"{where}: frame '{row.frame}' is not in {POSES}")
            boxes.setdefault(row.frame, []).append(_box(where, row))
    frames = tuple(
        KeyFrame(
            time=row.time,
            ego2global=((row.qw, row.qx, row.qy, row.qz), (row.x, row.y, row.z)),
            images={c.name: path for c in cameras if (path := _image(folder, c.name, row.frame))},
            boxes=tuple(boxes.get(row.frame, ())),
        )
        for row in poses[::every]
    )
    return Recording(
        folder.name,
        cameras,
        frames,
        location=calibration.location,
        description=calibration.description,
    )


def _box(where: str, row: BoxRow) -> Box:
    check_yaw(where, row.yaw)
    return Box(
        id=row.id,
        name=row.class_,
        center=(row.x, row.y, row.z),
        size=(row.width, row.length, row.height),
        rotation=(math.cos(row.yaw / 2), 0.0, 0.0, math.sin(row.yaw / 2)),
        points=row.points,
    )


def _image(folder: Path, camera: str, frame: str) -> Path | None:
    base = folder / IMAGES / camera
    return next((p for s in SUFFIXES if (p := base / f"{frame}{s}").is_file()), None)


def read_csv(path: Path, kind: type) -> Iterator:
    """The rows of a CSV file with a header, as a declared type.

    Raises:
        UserError: not readable, another header, or a row that is not of the type.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path} is too large")
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            needed = [f.encode_name for f in msgspec.structs.fields(kind) if f.required]
            missing = [name for name in needed if name not in (rows.fieldnames or ())]
            if missing:
                raise UserError(f"{path}: no column '{missing[0]}', the header needs {needed}")
            names = list(rows.fieldnames or ())
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise UserError(f"{path}: two columns are called '{twice}'")
            for row in rows:
                if None in row or None in row.values():  # too many, too few
                    raise UserError(
                        f"{path}, line {rows.line_num}: not the {len(names)} values of the header"
                    )
                try:
                    values = {name: value.strip() for name, value in row.items()}
                    yield msgspec.convert(values, kind, strict=False)
                except msgspec.ValidationError as error:
                    reason = " ".join(str(error).replace("`", "").split())
                    raise UserError(f"{path}, line {rows.line_num}: {reason}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV text: {error}") from None
