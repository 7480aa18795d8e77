"""Sine encodings of 3D positions, image coordinates and time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pftrack.errors import UserError
from pftrack.geometry import kept
from pftrack.registry import MODELS

TEMPERATURE = 10000.0


def sine_features(x: Tensor, num_feats: int, interleaved: bool = True) -> Tensor:
    """sin(w_k x) and cos(w_k x), w_k = ``TEMPERATURE ** (-2k / num_feats)``, k < num_feats / 2.

    Args:
        x: [...] angles in rad.
        interleaved: sin on even and cos on odd features; otherwise all sin, then all cos.

    Returns:
        [..., num_feats]
    """
    angles = x[..., None] / _wave_lengths(num_feats, x.dtype, x.device)
    return torch.stack((angles.sin(), angles.cos()), dim=-1 if interleaved else -2).flatten(-2)


@kept
def _wave_lengths(num_feats: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[num_feats / 2] 1 / w_k."""
    k = torch.arange(num_feats // 2, dtype=dtype, device=device)
    return TEMPERATURE ** (2 * k / num_feats)


def pos2posemb3d(pos: Tensor, num_pos_feats: int = 128) -> Tensor:
    """Encoding of normalised 3D positions (PETR; the order of the axes is y, x, z).

    Args:
        pos: [..., 3] in [0, 1].

    Returns:
        [..., 3 * num_pos_feats]
    """
    features = sine_features(pos.float() * (2 * math.pi), num_pos_feats)
    x, y, z = features.unbind(-2)  # an index of a list would be a copy that waits for a GPU
    return torch.cat((y, x, z), dim=-1)


def time_position_embedding(num_steps: int, dims: int, device: torch.device | str) -> Tensor:
    """Encoding of the steps k / (num_steps - 1), k = 0 .. num_steps - 1; kept, in the default type.

    Returns:
        [num_steps, dims]
    """
    return _time_positions(num_steps, dims, torch.get_default_dtype(), device)


@kept
def _time_positions(
    num_steps: int, dims: int, dtype: torch.dtype, device: torch.device | str
) -> Tensor:
    steps = torch.arange(num_steps, dtype=dtype, device=device) / (num_steps - 1)
    return sine_features(steps * (2 * math.pi), dims)


@MODELS.register_module()
class SinePositionalEncoding3D(nn.Module):
    """2D sine encoding over (camera, y, x) of the valid pixels (PETR).

    Coordinates count the valid entries along each axis from 1, divided by the last count. Unlike
    in the encodings above, every axis lists its sines before its cosines.

    Args:
        num_feats: features per axis.  normalize: stated by configurations; always so.
    """

    def __init__(self, num_feats: int, normalize: bool = True) -> None:
        super().__init__()
        if not normalize:
            raise UserError("SinePositionalEncoding3D: set normalize=True, nothing else exists")
        self.num_feats = num_feats

    def forward(self, mask: Tensor) -> Tensor:
        """Mask [B, V, h, w] bool, True = padding, to [B, V, 3 * num_feats, h, w]."""
        features = []
        for dim in (1, 2, 3):
            count = (~mask).cumsum(dim).float()  # whole numbers: repeatable on a GPU
            last = count.narrow(dim, count.shape[dim] - 1, 1)
            angles = count / (last + 1e-6) * (2 * math.pi)
            features.append(sine_features(angles, self.num_feats, interleaved=False))
        return torch.cat(features, dim=-1).permute(0, 1, 4, 2, 3)
