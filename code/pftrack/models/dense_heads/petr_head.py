"""PETR's detection head on tracking queries (Liu et al., "PETR", ECCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pftrack.errors import UserError
from pftrack.models.acceleration import full_precision
from pftrack.models.box_coder import inverse_sigmoid
from pftrack.models.dense_heads.base import (
    HeadOutput,
    check_stated,
    cls_branch,
    head_pc_range,
    refine_fp32,
    reg_branch,
)
from pftrack.models.layers.calibration_cache import CalibrationCache
from pftrack.models.layers.frustum import (
    frustum_points,
    invert_projection,
    lid_depths,
    uniform_depths,
)
from pftrack.registry import MODELS, build_model
from pftrack.structures import FrameBatch
from pftrack.values import AtLeastOne, Range, check_range


@MODELS.register_module()
class PETRCamTrackingHead(nn.Module):
    """Queries attend to the pixels of all cameras, whose keys carry 3D position embeddings.

    Args:
        num_classes: C.  in_channels: of the feature map.  transformer: its configuration.
        position_range: metres, normalises the frustum points; its x maximum is the last depth.
        pc_range: metres, normalises reference points; None: the box coder's.
        positional_encoding: configuration of the sine encoding over (camera, y, x).
        depth_num, depth_start, LID: number of depth bins, first depth in m, linearly increasing
            spacing.
        code_size: of the regression code.  num_reg_fcs: hidden layers of the branches.
        stated: settings of published configurations without effect, see :func:`check_stated`.

    Attributes:
        calibration: which matrix of a frame is read.
    """

    calibration = "img2lidar"

    def __init__(
        self,
        num_classes: AtLeastOne,
        in_channels: AtLeastOne,
        transformer: dict[str, Any],
        position_range: Range,
        positional_encoding: dict[str, Any],
        pc_range: Range | None = None,
        depth_num: AtLeastOne = 64,
        depth_start: float = 1.0,
        LID: bool = True,
        embed_dims: AtLeastOne = 256,
        code_size: int = 10,
        num_reg_fcs: int = 2,
        **stated: Any,
    ) -> None:
        super().__init__()
        check_stated(type(self).__name__, stated)
        check_range(f"position_range of {type(self).__name__}", position_range)
        if not 0 <= depth_start < position_range[3]:
            raise UserError(
                f"{type(self).__name__} in the config: depths from depth_start={depth_start} to "
                f"the x of position_range, {position_range[3]} m: the first, at least 0, is "
                "the smaller one"
            )
        self.in_channels = in_channels
        self.position_range = list(position_range)
        self.pc_range = head_pc_range(type(self).__name__, pc_range, stated)
        self.depth_num, self.depth_start = depth_num, depth_start
        self.depths = lid_depths if LID else uniform_depths
        self.positional_encoding = build_model(positional_encoding)

        self.input_proj = nn.Conv2d(in_channels, embed_dims, 1)
        self.transformer = build_model(transformer)
        self.transformer.half_precision = False  # but for the keys, see :meth:`decode`
        for layer in self.transformer.decoder.layers:
            layer.attentions[1].half_precision = True
        num_layers = len(self.transformer.decoder.layers)
        # One branch for all layers; listed once per layer as published state dicts do.
        self.cls_branches = nn.ModuleList(
            [cls_branch(embed_dims, num_classes, num_reg_fcs)] * num_layers
        )
        self.reg_branches = nn.ModuleList(
            [reg_branch(embed_dims, code_size, num_reg_fcs)] * num_layers
        )
        self.adapt_pos3d = _pointwise_mlp(self.positional_encoding.num_feats * 3, embed_dims)
        self.position_encoder = _pointwise_mlp(depth_num * 3, embed_dims)
        self._position_cache = CalibrationCache()
        self._sine: tuple[Any, Tensor] | None = None

    def forward(
        self,
        feats: Sequence[Tensor],
        frame: FrameBatch,
        query_feats: Tensor,
        query_embeds: Tensor,
        reference_points: Tensor,
        absent: Tensor | None = None,
    ) -> HeadOutput:
        """Detect with the given queries.

        Args:
            feats: maps [B, V, in_channels, h, w]; the first (finest) is used.
            frame: calibration and image shapes.
            query_feats, query_embeds: [B, N, D].
            reference_points: [B, N, 3] normalised.
            absent: [B, N] bool, True = an empty slot, which no query sees; None: there is none.
        """
        keys = self.project(feats[0])
        positions = self.key_positions(frame, keys.shape[-2:])
        mask = padding_mask(frame, keys.shape[-2:])
        return self.decode(
            keys, positions, mask, query_feats, query_embeds, reference_points, absent
        )

    def project(self, feat: Tensor) -> Tensor:
        """Keys [B, V, D, h, w] of a feature map [B, V, in_channels, h, w], without positions."""
        return self.input_proj(feat.flatten(0, 1)).unflatten(0, feat.shape[:2])

    def decode(
        self,
        keys: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        query_feats: Tensor,
        query_embeds: Tensor,
        reference_points: Tensor,
        absent: Tensor | None,
    ) -> HeadOutput:
        """The queries look at the keys; the others are those of :meth:`forward`.

        Only the attention to the keys is in half precision, where they are: positions hang on what
        the queries hold.

        Args:
            keys, positions: [B, V, D, h, w].  mask: [B, V, h, w] bool, True = padding; None: none.
        """
        with full_precision(query_feats):
            states = self.transformer(
                query_feats,
                _tokens(keys),
                query_pos=query_embeds,
                key_pos=_tokens(positions),
                key_padding_mask=None if mask is None else mask.flatten(1),
                query_padding_mask=absent,
            )
        raw_boxes = self.reg_branches[0](states)
        boxes, centers = refine_fp32(raw_boxes, reference_points, self.pc_range)
        return HeadOutput(
            all_cls_scores=self.cls_branches[0](states),
            all_bbox_preds=boxes,
            query_feats=states[-1],
            reference_points=centers[-1],
        )

    def key_positions(self, frame: FrameBatch, feature_shape: Sequence[int]) -> Tensor:
        """Position embedding of every feature pixel, [B, V, D, h, w].

        Without gradients it is kept until calibration, shapes or weights change.
        """
        h, w = feature_shape
        if frame.img2lidar is not None:  # a buffer that is filled anew for every frame
            return self._key_positions(frame, (h, w))
        weights = [*self.position_encoder.parameters(), *self.adapt_pos3d.parameters()]
        return self._position_cache.get(
            frame.lidar2img,
            (
                h,
                w,
                frame.img.shape,
                frame.img_shape,
                torch.is_autocast_enabled(frame.img.device.type),
            ),
            weights,
            lambda: self._key_positions(frame, (h, w)),
        )

    def _key_positions(self, frame: FrameBatch, feature_shape: tuple[int, int]) -> Tensor:
        rays = self.ray_embedding(self.frustum(frame, feature_shape))
        return rays + self.view_embedding(rays, padding_mask(frame, feature_shape))

    def view_embedding(self, rays: Tensor, mask: Tensor | None) -> Tensor:
        """Embedding [V, D, h, w] of camera, row and column of every feature pixel.

        Args:
            rays: [B, V, D, h, w], for their shape.  mask: [B, V, h, w] bool, True = padding.
        """
        with full_precision(rays):
            if mask is None:
                views, _, h, w = rays.shape[1:]
                sine = self._unpadded_sine((views, h, w), rays.device)
            else:
                sine = self.positional_encoding(mask[:1])
        return self.adapt_pos3d(sine.flatten(0, 1))

    def _unpadded_sine(self, shape: tuple[int, int, int], device: torch.device) -> Tensor:
        """The sine encoding of images without padding, kept from call to call."""
        mask = torch.zeros(1, *shape, dtype=torch.bool, device=device)
        if torch.compiler.is_compiling():  # a trace's stand-ins must not be kept
            return self.positional_encoding(mask)
        if self._sine is None or self._sine[0] != (shape, device):
            self._sine = (shape, device), self.positional_encoding(mask)
        return self._sine[1]

    def ray_embedding(self, frustum: Tensor) -> Tensor:
        """Embedding [B, V, D, h, w] of points along rays [B, V, K, 3, h, w]."""
        with full_precision(frustum):
            channels = inverse_sigmoid(frustum).flatten(2, 3)  # depth * 3 + axis
        embed = self.position_encoder(channels.flatten(0, 1))
        return embed.unflatten(0, channels.shape[:2])

    def frustum(
        self,
        frame: FrameBatch,
        feature_shape: tuple[int, int],
        img2lidar: Tensor | None = None,
    ) -> Tensor:
        """Points along every feature pixel's ray, [B, V, K, 3, h, w], position_range -> [0, 1].

        Args:
            img2lidar: [B, V, 4, 4] float32; None: the frame's.
        """
        depths = self.depths(
            self.depth_num, self.depth_start, self.position_range[3], frame.img.device
        )
        pad_shape = (frame.img.shape[-2], frame.img.shape[-1])
        if img2lidar is None:
            img2lidar = image_to_lidar(frame)
        return frustum_points(img2lidar, feature_shape, pad_shape, depths, self.position_range)


def image_to_lidar(frame: FrameBatch) -> Tensor:
    """[B, V, 4, 4] float32 pixels to lidar points, as the host or this device has inverted it."""
    return frame.img2lidar if frame.img2lidar is not None else invert_projection(frame.lidar2img)


def padding_mask(frame: FrameBatch, feature_shape: Sequence[int]) -> Tensor | None:
    """[B, V, h, w] bool, True where a feature pixel lies in the padding; None: no padding at all.

    Nearest resizing: row i stands for image row ``floor(i * H / h)``.
    """
    sizes = list(zip(feature_shape, frame.img.shape[-2:], frame.img_shape, strict=True))
    if all((n - 1) * pad // n < valid for n, pad, valid in sizes):
        return None
    rows, columns = (
        torch.arange(n, device=frame.img.device) * pad // n >= valid for n, pad, valid in sizes
    )
    return (rows[:, None] | columns).expand(*frame.img.shape[:2], -1, -1)


def _tokens(maps: Tensor) -> Tensor:
    """[B, V, D, h, w] -> [B, V * h * w, D]"""
    return maps.flatten(3).transpose(2, 3).flatten(1, 2)


def _pointwise_mlp(in_channels: int, embed_dims: int) -> nn.Sequential:
    hidden = embed_dims * 4
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, embed_dims, 1)
    )
