"""A small tracker's configuration, and frames of a car that drives along a street."""

from __future__ import annotations

import numpy as np
from mmcv import Config
from tiny_tracker import tracker_config

from pftrack.frames import Frame
from pftrack.structures import CLASSES

AUGMENTATION = dict(final_dim=(60, 90), H=90, W=160, resize_lim=(0.5, 0.6))


def config(**data) -> Config:
    test = {"ida_aug_conf": AUGMENTATION, **data}
    return Config({"model": tracker_config(), "class_names": list(CLASSES), "data": {"test": test}})


def frame(seconds: float, scene: str | None = None, seed: int = 0, cameras: int = 6) -> Frame:
    """Cameras that look around from 1.5 m above a car that has driven to (100, 50)."""
    random = np.random.default_rng(seed)
    ego2global = np.eye(4)
    ego2global[:2, 3] = 100 + 4 * seconds, 50
    lidar2ego = np.eye(4)
    lidar2ego[2, 3] = 1.8
    poses = []
    for yaw in np.arange(cameras) * np.pi / 3:
        c, s = np.cos(yaw), np.sin(yaw)
        pose = np.eye(4)
        pose[:3, :3] = np.array([[s, 0, c], [-c, 0, s], [0, -1, 0]])
        pose[2, 3] = 1.5
        poses.append(pose)
    intrinsics = np.array([[120.0, 0, 80], [0, 120, 45], [0, 0, 1]])
    return Frame(
        images=[random.integers(0, 255, (90, 160, 3), dtype=np.uint8) for _ in range(cameras)],
        intrinsics=np.stack([intrinsics] * cameras),
        sensor2ego=np.stack(poses),
        camera_ego2global=np.stack([ego2global] * cameras),
        lidar2ego=lidar2ego,
        ego2global=ego2global,
        timestamp=seconds,
        scene_id=scene,
    )
