"""Typed data at the boundaries: what a user gives, what the model eats, what comes out.

Frames of reference: *lidar* is the LIDAR_TOP frame of the key frame, *ego* the vehicle frame,
*global* the map frame; metres, radians, seconds. Boxes on the inside are always

    [x, y, z, w, l, h, rot, vx, vy]      (x, y, z) gravity centre, rot = -yaw - pi/2

the convention of info files and checkpoints (see :mod:`pftrack.geometry`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

# Users look for them here; modules that do without torch take them from there.
from pftrack.frames import PIXEL_MEAN, PIXEL_STD
from pftrack.frames import Frame as Frame
from pftrack.frames import Track as Track
from pftrack.geometry import constant
from pftrack.nuscenes.facts import CAMERAS as CAMERAS
from pftrack.nuscenes.facts import CLASSES as CLASSES
from pftrack.nuscenes.facts import TRACKING_CLASSES as TRACKING_CLASSES


@dataclass
class FrameTargets:
    """Ground truth of one frame, in its own lidar frame.

    Attributes:
        boxes: [n, 9] float32 (module docstring).  labels: [n] int64.
        instance_inds: [n] int64, the same object keeps its index through a scene.
        forecasting_locs: [n, 13, 3] centres now and at the 12 following key frames.
        forecasting_masks: [n, 13] True where observed.
    """

    boxes: Tensor
    labels: Tensor
    instance_inds: Tensor
    forecasting_locs: Tensor
    forecasting_masks: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> FrameTargets:
        return FrameTargets(
            **{k: v.to(device, non_blocking=non_blocking) for k, v in vars(self).items()}
        )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class FramePose:
    """Where and when a frame was taken, without its images.

    Attributes:
        l2g: [B, 4, 4] float32 lidar to global.  timestamp: [B] float64 s.
        scene_ids: B scene ids, or empty when unknown.
    """

    l2g: Tensor
    timestamp: Tensor
    scene_ids: Sequence[str] = ()


@dataclass
class FrameBatch:
    """What the model sees of one time step: B frames from B independent sequences.

    Attributes:
        img: [B, V, 3, H, W] float32, normalised, zero outside ``img_shape``.
        img_shape: (h, w) of the valid region; H, W is the padded shape.
        lidar2img: [B, V, 4, 4] float64, lidar points (m) to pixels of ``img``.
        l2g: [B, 4, 4] float32 lidar to global.
        timestamp: [B] float64 s.
        scene_ids: B scene ids, or empty when unknown.
        img2lidar: [B, V, 4, 4] float32, the inverse of ``lidar2img`` where the host has taken it.
    """

    img: Tensor
    img_shape: tuple[int, int]
    lidar2img: Tensor
    l2g: Tensor
    timestamp: Tensor
    scene_ids: list[str] = field(default_factory=list)
    img2lidar: Tensor | None = None

    @property
    def pose(self) -> FramePose:
        """All but the images and their calibration."""
        return FramePose(self.l2g, self.timestamp, tuple(self.scene_ids))


def normalize_images(
    img: Tensor, img_shape: tuple[int, int], mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """(x - mean) / std of images [..., 3, H, W], zero outside ``img_shape``; float32 of bytes."""
    pixels = img.clone() if img.is_floating_point() else img.float()  # changed in place
    offset, scale = (
        constant(values, pixels.dtype, pixels.device)
        for values in (tuple(mean), tuple(1.0 / s for s in std))
    )
    rows = pixels.movedim(-3, -1)
    if pixels.device.type == "cpu" and rows.is_contiguous():  # as the loader leaves its images
        # A whole row at a time: three channels are too few for the processor's vectors.
        rows.flatten(-2).sub_(offset.repeat(img.shape[-1])).mul_(scale.repeat(img.shape[-1]))
    else:
        pixels.sub_(offset[:, None, None]).mul_(scale[:, None, None])
    (h, w), (height, width) = img_shape, img.shape[-2:]
    if (h, w) == (height, width):
        return pixels
    return F.pad(pixels[..., :h, :w], (0, width - w, 0, height - h))


@dataclass
class ClipBatch:
    """What the model sees of B clips of T frames.

    Attributes:
        img: [B, T, V, 3, H, W]; uint8 BGR as it leaves the loader, or float32 once
            :meth:`normalized`.
        img_shape: (h, w) of the valid region of every image.
        lidar2img: [B, T, V, 4, 4] float64.  l2g: [B, T, 4, 4] float32.  timestamp: [B, T] float64.
        targets: ``targets[b][t]``; empty for inference.
        sample_tokens: ``sample_tokens[b][t]``.  scene_ids: one per clip.
        mean, std: [3] BGR constants used by :meth:`normalized`.
    """

    img: Tensor
    img_shape: tuple[int, int]
    lidar2img: Tensor
    l2g: Tensor
    timestamp: Tensor
    targets: list[list[FrameTargets]] = field(default_factory=list)
    sample_tokens: list[list[str]] = field(default_factory=list)
    scene_ids: list[str] = field(default_factory=list)
    mean: tuple[float, float, float] = PIXEL_MEAN
    std: tuple[float, float, float] = PIXEL_STD

    @property
    def batch_size(self) -> int:
        return self.img.shape[0]

    @property
    def num_frames(self) -> int:
        return self.img.shape[1]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ClipBatch:
        """A copy with every tensor on ``device``."""
        return replace(
            self,
            img=self.img.to(device, non_blocking=non_blocking),
            lidar2img=self.lidar2img.to(device, non_blocking=non_blocking),
            l2g=self.l2g.to(device, non_blocking=non_blocking),
            timestamp=self.timestamp.to(device, non_blocking=non_blocking),
            targets=[[f.to(device, non_blocking) for f in clip] for clip in self.targets],
        )

    def pin_memory(self) -> ClipBatch:
        """Called by a DataLoader with ``pin_memory=True``."""
        return replace(
            self,
            img=self.img.pin_memory(),
            lidar2img=self.lidar2img.pin_memory(),
            l2g=self.l2g.pin_memory(),
            timestamp=self.timestamp.pin_memory(),
            targets=[
                [FrameTargets(**{k: v.pin_memory() for k, v in vars(f).items()}) for f in clip]
                for clip in self.targets
            ],
        )

    def normalized(self) -> ClipBatch:
        """Images as float32 (x - mean) / std, zero in the padding; no-op on float images."""
        if self.img.dtype != torch.uint8:
            return self
        img = normalize_images(self.img, self.img_shape, self.mean, self.std)
        return replace(self, img=img)

    def frame(self, t: int) -> FrameBatch:
        """Time step ``t`` of every clip."""
        return FrameBatch(
            img=self.img[:, t],
            img_shape=self.img_shape,
            lidar2img=self.lidar2img[:, t],
            l2g=self.l2g[:, t],
            timestamp=self.timestamp[:, t],
            scene_ids=self.scene_ids,
        )

    def sample_frame(self, b: int, t: int) -> FrameBatch:
        """Time step ``t`` of clip ``b`` as a batch of one, without a copy."""
        return FrameBatch(
            img=self.img[b : b + 1, t],
            img_shape=self.img_shape,
            lidar2img=self.lidar2img[b : b + 1, t],
            l2g=self.l2g[b : b + 1, t],
            timestamp=self.timestamp[b : b + 1, t],
            scene_ids=self.scene_ids[b : b + 1],
        )


def upload(values: Tensor, device: torch.device) -> Tensor:
    """Values of the host on ``device``, without waiting for a GPU."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values
