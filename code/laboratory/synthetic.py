"""Clips of noise with a plausible geometry, for measurements that need no data."""

from __future__ import annotations

import numpy as np
import torch

from pftrack.structures import ClipBatch, FrameTargets

CAMERAS = 6


def noise_clip(size: tuple[int, int], frames: int, objects: int = 40, seed: int = 0) -> ClipBatch:
    """One clip of uint8 noise whose cameras look around, with objects that stand still.

    The vehicle drives straight at 5 m/s, half a second a frame.

    Args:
        size: (height, width) of the images.  objects: in every frame.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    img = torch.randint(
        0, 256, (1, frames, CAMERAS, height, width, 3), dtype=torch.uint8, generator=generator
    )
    l2g = torch.eye(4).repeat(1, frames, 1, 1)
    l2g[0, :, 0, 3] = 2.5 * torch.arange(frames)
    boxes = torch.rand(objects, 9, generator=generator) + 1
    boxes[:, :2] = boxes[:, :2] * 60 - 90
    target = FrameTargets(
        boxes=boxes,
        labels=torch.randint(10, (objects,), generator=generator),
        instance_inds=torch.arange(objects),
        forecasting_locs=boxes[:, None, :3].expand(-1, 13, -1).contiguous(),
        forecasting_masks=torch.ones(objects, 13, dtype=torch.bool),
    )
    return ClipBatch(
        img=img.permute(0, 1, 2, 5, 3, 4),  # as a loader leaves them
        img_shape=size,
        lidar2img=cameras_around(size).expand(1, frames, -1, -1, -1).contiguous(),
        l2g=l2g,
        timestamp=torch.arange(frames, dtype=torch.float64)[None] / 2,
        targets=[[target] * frames],
        scene_ids=["noise"],
    )


def cameras_around(size: tuple[int, int]) -> torch.Tensor:
    """[6, 4, 4] float64 lidar2img of cameras 60 degrees apart."""
    height, width = size
    intrinsics = np.eye(4)
    intrinsics[0, 0] = intrinsics[1, 1] = 0.8 * width
    intrinsics[:2, 2] = width / 2, height / 2
    matrices = []
    for yaw in np.arange(CAMERAS) * np.pi / 3:
        c, s = np.cos(yaw), np.sin(yaw)
        axes = np.array([[s, -c, 0, 0], [0, 0, -1, 0], [c, s, 0, 0.5], [0, 0, 0, 1]])
        matrices.append(intrinsics @ axes)
    return torch.from_numpy(np.stack(matrices))
