"""PETRv2's detection head on tracking queries (Liu et al., "PETRv2", ICCV 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pftrack.geometry import chain
from pftrack.models.acceleration import full_precision
from pftrack.models.dense_heads.base import HeadOutput, Past
from pftrack.models.dense_heads.petr_head import (
    PETRCamTrackingHead,
    image_to_lidar,
    padding_mask,
)
from pftrack.registry import MODELS
from pftrack.structures import FrameBatch


class FeatureGuidedGate(nn.Module):
    """Pixels say which of their position embedding's channels count.

    Args:
        channels: D, of both.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, channels, 1)
        self.conv_expand = nn.Conv2d(channels, channels, 1)

    def forward(self, positions: Tensor, feat: Tensor) -> Tensor:
        """Positions [n, D, h, w], each channel weighted by 0 to 1 as features [n, D, h, w] say."""
        return positions * self.conv_expand(self.conv_reduce(feat).relu()).sigmoid()


@MODELS.register_module()
class PETRv2CamTrackingHead(PETRCamTrackingHead):
    """Queries attend to the pixels of this frame and of the one before, in one frame of reference.

    The pixels of the frame before stand where the ego motion since leaves them, which is all that
    tells the queries of motion. A sequence's first frame takes its own pixels twice.

    Not taken over: velocities are regressed per second, not per frame; the frame before is the last
    key frame, not a random one among the sweeps.

    Args:
        embed_dims: D.  settings: the other ones of :class:`PETRCamTrackingHead`.
    """

    frames = 2

    def __init__(self, embed_dims: int = 256, **settings: Any) -> None:
        super().__init__(embed_dims=embed_dims, **settings)
        self.fpe = FeatureGuidedGate(embed_dims)

    def forward(
        self,
        feats: Sequence[Tensor],
        frame: FrameBatch,
        query_feats: Tensor,
        query_embeds: Tensor,
        reference_points: Tensor,
        absent: Tensor | None = None,
        past: Past | None = None,
    ) -> HeadOutput:
        """Detect with the given queries, see :meth:`PETRCamTrackingHead.forward`.

        Args:
            past: what this head returned as ``memory`` at the frame before: its keys
                [B, V, D, h, w] and ``img2lidar`` [B, V, 4, 4], float32 under autocast too; None:
                the sequence begins.
        """
        now = {"keys": self.project(feats[0]), "img2lidar": image_to_lidar(frame)}
        before = now if past is None else _in_this_frame(past, now)
        keys, img2lidar = (torch.cat([now[name], before[name]], dim=1) for name in now)
        shape = (keys.shape[-2], keys.shape[-1])
        mask = padding_mask(frame, shape)
        if mask is not None:
            mask = mask[:, :1].expand(-1, keys.shape[1], -1, -1)
        rays = self.ray_embedding(self.frustum(frame, shape, img2lidar))
        gated = self.fpe(rays.flatten(0, 1), keys.flatten(0, 1)).unflatten(0, rays.shape[:2])
        positions = gated + self.view_embedding(rays, mask)
        output = self.decode(
            keys, positions, mask, query_feats, query_embeds, reference_points, absent
        )
        output.memory = {name: value.float() for name, value in now.items()}
        return output


def _in_this_frame(past: Past, now: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is remembered, seen from this frame; where nothing is, what is seen now."""
    keys = past.memory["keys"]
    with full_precision(past.motion):
        moved = chain(past.memory["img2lidar"], past.motion[:, None])
    nothing = ~keys.isfinite().flatten(1).all(1)  # a broken image must not break this frame too
    if past.begins is not None:
        nothing = nothing | past.begins
    return {
        name: torch.where(
            nothing.view(-1, *[1] * (value.dim() - 1)), now[name], value.to(now[name].dtype)
        )
        for name, value in (("keys", keys), ("img2lidar", moved))
    }
