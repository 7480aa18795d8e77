"""The sensors of the recording car: six cameras and a lidar, mounted nearly as in nuScenes.

Ego frame: x forward, y left, z up, origin on the ground under the rear axle.
Camera frame: x right, y down, z forward; pixel centres have integer coordinates.

The few rotations needed here are scipy's, not those of :mod:`pftrack.geometry`:
what is generated tests that module, and worker processes start without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

IMAGE_WIDTH, IMAGE_HEIGHT = 1600, 900  # intrinsics below are for this size

# name: yaw [deg], translation [m], focal length, principal point [px], exposure after lidar [us]
_CAMERAS = {
    "CAM_FRONT": (0.3, (1.70, 0.02, 1.51), 1266.4, (816.3, 491.5), -35_000),
    "CAM_FRONT_RIGHT": (-56.2, (1.55, -0.49, 1.50), 1260.8, (807.9, 495.3), -27_000),
    "CAM_FRONT_LEFT": (55.7, (1.52, 0.49, 1.51), 1272.6, (826.6, 479.8), -43_000),
    "CAM_BACK": (179.8, (0.03, 0.01, 1.58), 809.2, (829.2, 481.8), -10_000),
    "CAM_BACK_LEFT": (108.4, (1.04, 0.48, 1.59), 1256.7, (792.1, 492.8), -1_000),
    "CAM_BACK_RIGHT": (-110.1, (1.01, -0.48, 1.56), 1259.5, (807.3, 501.2), -19_000),
}
CAMERA_NAMES = tuple(_CAMERAS)
# Of other cars; the first looks as the front camera does, but far.
_MORE_CAMERAS = {
    "front_tele": (0.0, (1.75, 0.12, 1.40), 2500.0, (800.0, 450.0), -30_000),
    "left": (90.0, (0.90, 0.90, 1.10), 1000.0, (800.0, 450.0), -5_000),
    "right": (-90.0, (0.90, -0.90, 1.10), 1000.0, (800.0, 450.0), -15_000),
}


@dataclass
class Camera:
    """A calibrated pinhole camera.

    Attributes:
        name: channel.  size: (width, height) px.
        intrinsic: [3, 3].  rotation: [3, 3] camera to ego.  translation: [3] m in the ego frame.
        delay: exposure minus the key frame's time stamp, microseconds.
    """

    name: str
    size: tuple[int, int]
    intrinsic: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    delay: int


@dataclass
class Lidar:
    """The spinning lidar. ``rotation`` [3, 3] lidar to ego, ``translation`` [3] m."""

    rotation: np.ndarray
    translation: np.ndarray


def build_cameras(
    rng: np.random.Generator, size: tuple[int, int], names: Sequence[str] = CAMERA_NAMES
) -> list[Camera]:
    """The cameras for images of ``size`` (width, height), each mounted slightly off."""
    scale = np.array([size[0] / IMAGE_WIDTH, size[1] / IMAGE_HEIGHT])
    cameras = []
    for name in names:
        yaw, translation, focal, centre, delay = (_CAMERAS | _MORE_CAMERAS)[name]
        level = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
        tilt = Rotation.from_euler("xyz", rng.normal(0, 0.3, 3), degrees=True)
        rotation = Rotation.from_euler("z", yaw, degrees=True) * tilt * level
        intrinsic = np.eye(3)
        intrinsic[[0, 1], [0, 1]] = focal * scale
        intrinsic[:2, 2] = np.array(centre) * scale
        position = np.array(translation) + rng.normal(0, 0.01, 3)
        cameras.append(Camera(name, size, intrinsic, rotation.as_matrix(), position, delay))
    return cameras


def build_lidar(rng: np.random.Generator) -> Lidar:
    """LIDAR_TOP: its x axis points to the right of the car, y forward."""
    rotation = Rotation.from_euler("zyx", [-90.0, *rng.normal(0, 0.4, 2)], degrees=True)
    return Lidar(rotation.as_matrix(), np.array([0.94, 0.0, 1.84]) + rng.normal(0, 0.005, 3))


def quaternion(rotation: np.ndarray) -> list[float]:
    """[w, x, y, z] of a rotation matrix, as the nuScenes tables store it."""
    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    return [float(w), float(x), float(y), float(z)]


def yaw_matrix(yaw: float) -> np.ndarray:
    """[3, 3] rotation about z."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
