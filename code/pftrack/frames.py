"""What a user gives a tracker and gets from it: one frame, and the tracks in it. Without torch.

Frames of reference: see :mod:`pftrack.structures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# BGR, what published models' images are normalised by.
PIXEL_MEAN = (103.530, 116.280, 123.675)
PIXEL_STD = (57.375, 57.120, 58.395)


@dataclass
class Frame:
    """One key frame as a user has it.

    Args:
        images: one per camera: BGR uint8 array [h, w, 3] or a path to an image file; None: the
            camera has none now, and the network sees zeros.
        intrinsics: [V, 3, 3] camera matrices for the images as given.
        sensor2ego: [V, 4, 4] camera to ego poses.
        camera_ego2global: [V, 4, 4] ego pose at each camera's exposure.
        lidar2ego: [4, 4] pose of the network's coordinate frame.
        ego2global: [4, 4] ego pose at the key frame.
        timestamp: seconds.
        scene_id: a change of it starts a new sequence; None: decided by the time gap.
        sample_token: nuScenes sample token, carried through to results.
        lidar2cam: [V, 4, 4], when known exactly (info files); otherwise computed from the poses.
        cameras: V names, for pictures; empty: nuScenes' order where there are six.
    """

    images: Sequence[np.ndarray | str | Path | None]
    intrinsics: np.ndarray
    sensor2ego: np.ndarray
    camera_ego2global: np.ndarray
    lidar2ego: np.ndarray
    ego2global: np.ndarray
    timestamp: float
    scene_id: str | None = None
    sample_token: str = ""
    lidar2cam: np.ndarray | None = None
    cameras: Sequence[str] = ()


@dataclass
class Track:
    """One tracked object in one frame, in the global frame.

    Attributes:
        id: unique within the results: "<sequence>-<id>".
        name: one of :data:`TRACKING_CLASSES`.
        score: in [0, 1].
        center: [3] m.  size: [3] width, length, height in m.  yaw: heading in rad about global z.
        rotation: [4] unit quaternion (w, x, y, z), the full orientation.
        velocity: [2] m/s.
        forecast: [F, 2] displacement of each following step of 0.5 s, m; None without reasoning.
    """

    id: str
    name: str
    score: float
    center: np.ndarray
    size: np.ndarray
    yaw: float
    rotation: np.ndarray
    velocity: np.ndarray
    forecast: np.ndarray | None = None
