"""Samples -> batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pftrack.structures import ClipBatch, FrameTargets


@dataclass
class ClipSample:
    """One clip of T frames, as a dataset gives it.

    Attributes:
        img: [T, V, H, W, 3] uint8 BGR, zero outside ``img_shape`` (h, w).
        lidar2img: [T, V, 4, 4] float64.  l2g: [T, 4, 4] float32.  timestamp: [T] float64 s.
        targets: per frame; empty for inference.
        mean, std: [3] BGR, used when the batch is normalised.
    """

    img: Tensor
    img_shape: tuple[int, int]
    lidar2img: np.ndarray
    l2g: np.ndarray
    timestamp: np.ndarray
    sample_tokens: list[str]
    scene_id: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    targets: list[FrameTargets] = field(default_factory=list)


def collate_clips(samples: Sequence[ClipSample]) -> ClipBatch:
    """Stack clips of equal length and image size; images stay uint8.

    The images' memory is channels-last: the transfer to the device copies it as it is, and
    convolutions want it so.
    """
    first = samples[0]
    img = first.img[None] if len(samples) == 1 else torch.stack([s.img for s in samples])
    return ClipBatch(
        img=img.permute(0, 1, 2, 5, 3, 4),
        img_shape=first.img_shape,
        lidar2img=torch.from_numpy(np.stack([s.lidar2img for s in samples])),
        l2g=torch.from_numpy(np.stack([s.l2g for s in samples])),
        timestamp=torch.from_numpy(np.stack([s.timestamp for s in samples])),
        targets=[s.targets for s in samples],
        sample_tokens=[s.sample_tokens for s in samples],
        scene_ids=[s.scene_id for s in samples],
        mean=first.mean,
        std=first.std,
    )
