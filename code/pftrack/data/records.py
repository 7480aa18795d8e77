"""What a recording is: cameras, key frames, boxes. Every field with unit and frame of reference.

*ego*: the vehicle, x forward, y left, z up. *camera*: x right, y down, z forward. *global*: a fixed
frame, z up. Metres, seconds, radians; rotations are unit quaternions (w, x, y, z).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Pose = tuple[Quaternion, Vector]  # rotation and translation


@dataclass(frozen=True)
class RigCamera:
    """A calibrated pinhole camera, its images undistorted.

    Attributes:
        name: any; nuScenes' names keep nuScenes' order.
        intrinsic: 3 x 3, for the images as they are, px.
        camera2ego: where it is mounted.
    """

    name: str
    intrinsic: tuple[Vector, Vector, Vector]
    camera2ego: Pose


@dataclass(frozen=True)
class Box:
    """An annotated object in one key frame.

    Attributes:
        id: the same object has the same id through a recording.
        name: one of the ten classes of nuScenes (``car``, ``pedestrian``, ...).
        center: m, global, of the box's middle.  size: width, length, height, m.
        rotation: heading, global: the box's x axis is its length, forward.
        points: lidar or radar points inside; boxes with 0 are taken for invisible, so 1 where
            nobody has counted.
    """

    id: str
    name: str
    center: Vector
    size: Vector
    rotation: Quaternion
    points: int = 1


@dataclass(frozen=True)
class KeyFrame:
    """One moment of a recording.

    Attributes:
        time: s; about 0.5 s after the one before.
        ego2global: pose of the vehicle.
        images: file of each camera that has one now, by its name.
        boxes: annotations; () where there are none.
        exposures: pose of the vehicle when a camera exposed, where it is known to differ.
    """

    time: float
    ego2global: Pose
    images: dict[str, Path]
    boxes: tuple[Box, ...] = ()
    exposures: dict[str, Pose] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording:
    """A drive without gaps, which nuScenes calls a scene.

    Attributes:
        name: unlike those of the others.  cameras: its rig.  frames: in order of time.
        lidar2ego: where boxes and tracks are reckoned in; the ego frame where there is no lidar.
        location, description: for splits (:mod:`pftrack.commands.split`).
    """

    name: str
    cameras: tuple[RigCamera, ...]
    frames: tuple[KeyFrame, ...]
    lidar2ego: Pose = ((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    location: str = "unknown"
    description: str = ""
