"""Is a recording what it should be? Units, frames of reference, names: one line for a mistake."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from pftrack.data.records import Box, KeyFrame, Pose, Recording, RigCamera
from pftrack.errors import UserError
from pftrack.geometry import quaternion_to_matrix
from pftrack.nuscenes.facts import CLASSES, MOST_CAMERAS

FARTHEST_CAMERA = 15.0  # m from the ego frame's origin
LARGEST_BOX = 50.0  # m
SMALLEST_BOX = 0.01  # m
FASTEST = 100.0  # m/s
FARTHEST_BOX = 1000.0  # m from the vehicle
STEEPEST = math.sin(math.radians(60))  # of a camera's axis, up or down
LEAST_DOWN = -0.5  # of the y axis of its images: 60 degrees from upright
PERIOD = (0.25, 1.0)  # s from one key frame to the next: forecasts count steps of 0.5 s
LATEST = 1e11  # s after 1970; beyond it are milli-, micro- or nanoseconds


def check_recording(recording: Recording) -> None:
    """Everything but the image files.

    Raises:
        UserError: what is wrong, where, and what was probably meant.
    """
    where = f"recording '{recording.name}'"
    if not recording.name or not recording.frames:
        raise UserError(f"{where}: a recording has a name and at least one key frame")
    _check_rig(where, recording.cameras)
    _check_pose(f"{where}: lidar2ego", recording.lidar2ego, FARTHEST_CAMERA)
    _check_times(where, [frame.time for frame in recording.frames])
    _check_speed(where, recording.frames)
    names = {camera.name for camera in recording.cameras}
    classes: dict[str, str] = {}
    for number, frame in enumerate(recording.frames):
        _check_frame(f"{where}, frame {number}", frame, names, classes)


def _check_rig(where: str, cameras: Sequence[RigCamera]) -> None:
    if not 1 <= len(cameras) <= MOST_CAMERAS:
        raise UserError(f"{where}: {len(cameras)} cameras, 1 to {MOST_CAMERAS} are possible")
    if twice := _twice(camera.name for camera in cameras):
        raise UserError(f"{where}: two cameras are called '{twice}'")
    for camera in cameras:
        place = f"{where}, camera '{camera.name}'"
        if not camera.name:
            raise UserError(f"{where}: a camera without a name")
        k = np.asarray(camera.intrinsic, float)
        if k.shape != (3, 3) or not np.isfinite(k).all() or (k[2] != (0, 0, 1)).any():
            raise UserError(f"{place}: intrinsic must be 3 x 3 numbers, the last row 0 0 1")
        if k[0, 0] < 10 or k[1, 1] < 10 or k[0, 2] < 1 or k[1, 2] < 1:
            raise UserError(
                f"{place}: focal lengths {k[0, 0]:g}, {k[1, 1]:g} and principal point "
                f"{k[0, 2]:g}, {k[1, 2]:g} must be in pixels (not in mm, not relative)"
            )
        _check_pose(f"{place}: camera2ego", camera.camera2ego, FARTHEST_CAMERA)
        _, down, ahead = quaternion_to_matrix(camera.camera2ego[0])[2]  # how far up each axis goes
        if abs(ahead) > STEEPEST or down > LEAST_DOWN:
            steep = f"looks {'up' if ahead > 0 else 'down'}"
            how = steep if abs(ahead) > STEEPEST else "lies on its side"
            raise UserError(
                f"{place} {how}: camera2ego must turn the camera frame (x right, y down, z "
                "forward) into the ego frame (x forward, y left, z up), and images be upright"
            )


def _check_pose(what: str, pose: Pose, farthest: float | None = None) -> None:
    rotation, translation = (np.asarray(part, float) for part in pose)
    if rotation.shape != (4,) or not abs(np.linalg.norm(rotation) - 1) < 1e-2:
        raise UserError(f"{what}: the rotation must be a unit quaternion (w, x, y, z)")
    if translation.shape != (3,) or not np.isfinite(translation).all():
        raise UserError(f"{what}: the translation must be three finite numbers")
    distance = float(np.linalg.norm(translation))
    if farthest is not None and distance > farthest:
        raise UserError(
            f"{what} is {distance:g} m from the vehicle's origin: metres are wanted, are these "
            "millimetres?"
        )


def _check_frame(where: str, frame: KeyFrame, cameras: set[str], classes: dict[str, str]) -> None:
    _check_pose(f"{where}: ego2global", frame.ego2global)
    if unknown := sorted({*frame.images, *frame.exposures} - cameras):
        raise UserError(
            f"{where}: unknown camera '{unknown[0]}', the rig has {', '.join(sorted(cameras))}"
        )
    if not frame.images:
        raise UserError(f"{where}: no camera has an image")
    for name, pose in frame.exposures.items():
        _check_pose(f"{where}: pose at the exposure of '{name}'", pose)
    if twice := _twice(box.id for box in frame.boxes):
        raise UserError(f"{where}: two boxes have the id '{twice}'")
    for box in frame.boxes:
        _check_box(f"{where}, box '{box.id}'", box, frame)
        if classes.setdefault(box.id, box.name) != box.name:
            raise UserError(f"{where}, box '{box.id}': a {box.name} that was a {classes[box.id]}")


def _check_box(where: str, box: Box, frame: KeyFrame) -> None:
    if not box.id:
        raise UserError(f"{where}: a box without an id")
    if box.name not in CLASSES:
        raise UserError(f"{where}: unknown class '{box.name}', known are {', '.join(CLASSES)}")
    _check_pose(where, (box.rotation, box.center))
    size = np.asarray(box.size, float)
    if size.shape != (3,) or not (np.isfinite(size).all() and (size > 0).all()):
        raise UserError(f"{where}: size must be width, length and height, above 0")
    if size.max() > LARGEST_BOX or size.min() < SMALLEST_BOX:
        raise UserError(
            f"{where} measures {size[0]:g} x {size[1]:g} x {size[2]:g} m: metres are wanted, are "
            f"these {'millimetres' if size.max() > LARGEST_BOX else 'kilometres'}?"
        )
    away = float(np.linalg.norm(np.subtract(box.center, frame.ego2global[1])))
    if away > FARTHEST_BOX:
        raise UserError(
            f"{where} is {away:.0f} m away from the vehicle: centres are wanted in metres and in "
            "the global frame, as ego2global is"
        )
    if box.points < 0:
        raise UserError(f"{where}: {box.points} points")


def _check_times(where: str, times: list[float]) -> None:
    if not all(math.isfinite(t) and t > 0 for t in times):
        raise UserError(f"{where}: a time is no positive number of seconds")
    if max(times) > LATEST:
        raise UserError(
            f"{where}: the time {max(times):g}: seconds are wanted, are these milli-, micro- or "
            "nanoseconds?"
        )
    gaps = np.diff(times)
    if (gaps <= 0).any():
        number = 1 + int(np.argmin(gaps > 0))
        raise UserError(f"{where}, frame {number}: its time is not after that of the one before")
    if len(gaps) and not PERIOD[0] <= float(np.median(gaps)) <= PERIOD[1]:
        gap = float(np.median(gaps))
        hint = (
            f"take every {max(2, round(0.5 / gap))}th" if gap < PERIOD[0] else "record more often"
        )
        raise UserError(
            f"{where}: key frames are {gap:.3g} s apart; tracks and forecasts count in steps of "
            f"0.5 s: {hint}"
        )


def _check_speed(where: str, frames: Sequence[KeyFrame]) -> None:
    """Poses in other units, or of another vehicle, jump."""
    places = np.array([frame.ego2global[1] for frame in frames], float)
    times = np.array([frame.time for frame in frames])
    speed = np.linalg.norm(np.diff(places, axis=0), axis=1) / np.diff(times)
    if len(speed) and speed.max() > FASTEST:
        number = 1 + int(np.argmax(speed))
        raise UserError(
            f"{where}, frame {number}: the vehicle comes at {speed.max():.0f} m/s: metres and "
            "seconds are wanted, are the poses in millimetres?"
        )


def check_yaw(where: str, yaw: float) -> None:
    """An angle in radians.

    Raises:
        UserError: beyond one turn: probably degrees.
    """
    if not abs(yaw) <= 2 * math.pi + 1e-3:
        raise UserError(f"{where}: the angle {yaw:g}: radians are wanted, are these degrees?")


def _twice(names: Iterable[str]) -> str | None:
    name, count = Counter(names).most_common(1)[0] if (names := list(names)) else ("", 0)
    return name if count > 1 else None
