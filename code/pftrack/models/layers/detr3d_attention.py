"""DETR3D's cross-attention: every query looks where its reference point projects to.

Wang et al., "DETR3D", CoRL 2021, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pftrack.errors import UserError
from pftrack.geometry import denormalize_points
from pftrack.models.acceleration import full_precision
from pftrack.models.box_coder import inverse_sigmoid
from pftrack.registry import MODELS
from pftrack.values import AtLeastOne, Range, Share

MIN_DEPTH = 1e-5


def project_to_cameras(
    reference_points: Tensor,
    lidar2img: Tensor,
    img_shape: tuple[int, int],
    pc_range: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """Project normalised points into all cameras.

    Args:
        reference_points: [B, N, 3].  lidar2img: [B, V, 4, 4].
        img_shape: (h, w) in pixels, mapped to (-1, 1).

    Returns:
        positions [B, V, N, 2] (x, y) and whether they are visible [B, V, N] bool: in front of the
        camera and strictly inside the image.
    """
    points = denormalize_points(reference_points, pc_range)
    x, y, z = points[:, None, :, :, None].unbind(-2)  # [B, 1, N, 1]
    columns = lidar2img.float()[:, :, None, :3].unbind(-1)  # [B, V, 1, 3]
    image = columns[0] * x + columns[1] * y + columns[2] * z + columns[3]
    depth = image[..., 2:3]
    pixels = image[..., :2] / depth.clamp(min=MIN_DEPTH)
    height, width = img_shape  # numbers, not a tensor: copying one would wait for a GPU
    positions = torch.stack((pixels[..., 0] / width, pixels[..., 1] / height), dim=-1)
    positions = (positions - 0.5) * 2
    visible = (depth[..., 0] > MIN_DEPTH) & (positions.abs() < 1).all(-1)
    return positions, visible


@MODELS.register_module()
class Detr3DCrossAtten(nn.Module):
    """Bilinear samples at the projected point, gated per camera and level, summed.

    Args:
        pc_range: metres, of the normalised reference points.
        num_cams, num_levels: V cameras and feature levels.  num_points: 1, as published.
        dropout: of the residual branch.
    """

    def __init__(
        self,
        pc_range: Range,
        embed_dims: AtLeastOne = 256,
        num_levels: AtLeastOne = 4,
        num_cams: AtLeastOne = 6,
        num_points: int = 1,
        dropout: Share = 0.1,
    ) -> None:
        super().__init__()
        if num_points != 1:
            raise UserError(
                f"Detr3DCrossAtten samples one point per query, not num_points={num_points}"
            )
        self.pc_range = list(pc_range)
        self.num_cams, self.num_levels = num_cams, num_levels
        self.attention_weights = nn.Linear(embed_dims, num_cams * num_levels)
        self.output_proj = nn.Linear(embed_dims, embed_dims)
        self.position_encoder = nn.Sequential(
            nn.Linear(3, embed_dims),
            nn.LayerNorm(embed_dims),
            nn.ReLU(inplace=True),
            nn.Linear(embed_dims, embed_dims),
            nn.LayerNorm(embed_dims),
            nn.ReLU(inplace=True),
        )
        self.residual_dropout = nn.Dropout(dropout)

    def init_weights(self) -> None:
        """Start with equal gates and no bias of the output."""
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        nn.init.zeros_(self.output_proj.bias)

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor | None,
        feats: Sequence[Tensor],
        reference_points: Tensor,
        lidar2img: Tensor,
        img_shape: tuple[int, int],
    ) -> Tensor:
        """One cross-attention step with its residual and the position encoding.

        Args:
            query, query_pos: [B, N, D].
            feats: one map [B, V, D, h, w] float32 per level.
            reference_points: [B, N, 3] normalised.
            lidar2img: [B, V, 4, 4].  img_shape: (h, w) of the images without padding.

        Returns:
            [B, N, D]
        """
        if len(feats) != self.num_levels:
            raise UserError(
                f"Detr3DCrossAtten in the config: num_levels={self.num_levels}, but the neck "
                f"returns {len(feats)} maps"
            )
        if lidar2img.shape[1] != self.num_cams:
            raise UserError(
                f"Detr3DCrossAtten in the config: num_cams={self.num_cams}, but the data have "
                f"{lidar2img.shape[1]} cameras"
            )
        gates = self.attention_weights(query if query_pos is None else query + query_pos).sigmoid()
        gates = gates.unflatten(-1, (self.num_cams, self.num_levels))
        with full_precision(query):
            reference_points = reference_points.float()
            positions, visible = project_to_cameras(
                reference_points, lidar2img, img_shape, self.pc_range
            )
            gates = (gates.float() * visible.transpose(1, 2)[..., None]).permute(3, 0, 2, 1)
            sampled = sum(  # a product and a sum over 6 cameras: bmm is slow at such sizes
                _sample(feat, positions) * gate[:, :, None]
                for feat, gate in zip(feats, gates, strict=True)
            ).sum(1)
            logits = inverse_sigmoid(reference_points)
        out = self.residual_dropout(self.output_proj(sampled.transpose(1, 2)))
        return out + query + self.position_encoder(logits)


def _sample(feat: Tensor, positions: Tensor) -> Tensor:
    """Bilinear samples [B, V, D, N] of [B, V, D, h, w] at [B, V, N, 2]; zero outside."""
    grid = positions.flatten(0, 1)[:, :, None]
    sampled = F.grid_sample(feat.flatten(0, 1), grid, align_corners=False)
    return sampled[..., 0].unflatten(0, feat.shape[:2])
