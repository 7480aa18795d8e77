"""Where the image's pixels look: points along every pixel's ray (PETR, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pftrack.geometry import normalize_points

MIN_DEPTH = 1e-5


def lid_depths(num_bins: int, start: float, end: float, device: torch.device | str) -> Tensor:
    """[num_bins] depths in m, linearly increasing spacing: start + k(k+1)(end-start)/(n(n+1))."""
    k = torch.arange(num_bins, dtype=torch.float32, device=device)
    bin_size = (end - start) / (num_bins * (1 + num_bins))
    return (start + bin_size * k * (k + 1)).clamp(min=MIN_DEPTH)


def uniform_depths(num_bins: int, start: float, end: float, device: torch.device | str) -> Tensor:
    """[num_bins] depths in m, equal spacing."""
    k = torch.arange(num_bins, dtype=torch.float32, device=device)
    return (start + (end - start) / num_bins * k).clamp(min=MIN_DEPTH)


def invert_projection(lidar2img: Tensor) -> Tensor:
    """Image to lidar, [B, V, 4, 4] float32, of the float64 projections ``lidar2img``."""
    return torch.linalg.inv_ex(lidar2img).inverse.float()  # no check, so no synchronisation


def frustum_points(
    img2lidar: Tensor,
    feature_shape: tuple[int, int],
    pad_shape: tuple[int, int],
    depths: Tensor,
    position_range: Sequence[float],
) -> Tensor:
    """3D points of every feature pixel and depth, normalised by ``position_range``.

    A pixel (u, v) at depth d unprojects to ``origin + d * ray``, where origin and ray come from
    the inverse projection once per camera and pixel: no matrix product per depth.

    Args:
        img2lidar: [B, V, 4, 4] float32.
        feature_shape: (h, w); column i stands for image column ``i * pad_w / w``.
        depths: [K] m.

    Returns:
        [B, V, K, 3, h, w] float32
    """
    h, w = feature_shape
    rows = torch.arange(h, device=depths.device, dtype=torch.float32) * pad_shape[0] / h
    columns = torch.arange(w, device=depths.device, dtype=torch.float32) * pad_shape[1] / w
    x, y, z, origin = (img2lidar[..., :3, i, None, None] for i in range(4))
    ray = x * columns + (y * rows[:, None] + z)
    points = ray[..., None, :, :, :] * depths[:, None, None, None] + origin[..., None, :, :, :]
    return normalize_points(points.movedim(-3, -1), position_range).movedim(-1, -3)
