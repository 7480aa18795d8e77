"""DETR3D's detection head on tracking queries (Wang et al., CoRL 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pftrack.errors import UserError
from pftrack.models.acceleration import full_precision
from pftrack.models.dense_heads.base import (
    HeadOutput,
    check_stated,
    cls_branch,
    head_pc_range,
    refine_fp32,
    reg_branch,
)
from pftrack.models.layers.transformer import DecoderLayers
from pftrack.registry import MODELS, build_model
from pftrack.stated import same
from pftrack.structures import FrameBatch
from pftrack.values import AtLeastOne, Range


@MODELS.register_module()
class Detr3DTransformerDecoder(DecoderLayers):
    """Decoder layers whose cross-attention projects reference points that move layer by layer."""


@MODELS.register_module()
class DETR3DCamTrackingHead(nn.Module):
    """Queries sample the feature maps where their reference points project to.

    Args:
        num_classes: C.  in_channels: of the feature maps.  transformer: its configuration.
        pc_range: metres, normalises reference points; None: the box coder's.
        with_box_refine: each layer's boxes are the next layer's reference points; always so.
        code_size: of the regression code.  num_reg_fcs: hidden layers of the branches.
        stated: settings of published configurations without effect, see :func:`check_stated`.
    """

    def __init__(
        self,
        num_classes: AtLeastOne,
        in_channels: AtLeastOne,
        transformer: dict[str, Any],
        pc_range: Range | None = None,
        with_box_refine: bool = True,
        code_size: int = 10,
        num_reg_fcs: AtLeastOne = 2,
        **stated: Any,
    ) -> None:
        super().__init__()
        check_stated(type(self).__name__, stated)
        if not with_box_refine:
            raise UserError("DETR3DCamTrackingHead always refines boxes: set with_box_refine=True")
        self.transformer = build_model(transformer)
        self.transformer.half_precision = False  # positions hang on what the queries hold
        layers = self.transformer.decoder.layers
        embed_dims = layers[0].norms[0].normalized_shape[0]
        if in_channels != embed_dims:
            raise UserError(
                f"DETR3DCamTrackingHead: in_channels={in_channels} is not embed_dims={embed_dims}"
            )
        self.in_channels = in_channels
        self.num_levels = getattr(layers[0].attentions[1], "num_levels", None)
        self.pc_range = head_pc_range(type(self).__name__, pc_range, stated)
        for layer in layers:
            projected = getattr(layer.attentions[1], "pc_range", self.pc_range)
            if not same(projected, self.pc_range):
                raise UserError(
                    f"DETR3DCamTrackingHead in the config: its attention projects by the pc_range "
                    f"{projected}, its boxes are in {self.pc_range}: make them equal"
                )
        self.cls_branches = nn.ModuleList(
            cls_branch(embed_dims, num_classes, num_reg_fcs) for _ in layers
        )
        self.reg_branches = nn.ModuleList(
            reg_branch(embed_dims, code_size, num_reg_fcs) for _ in layers
        )

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
            feats: one map [B, V, D, h, w] per level, finest first.
            frame: calibration and image shapes.
            query_feats, query_embeds: [B, N, D].
            reference_points: [B, N, 3] normalised.
            absent: [B, N] bool, True = an empty slot, which no query sees; None: there is none.
        """
        query, logits, boxes = query_feats, [], []
        lidar2img = frame.lidar2img.float()
        feats = [feat.float() for feat in feats]  # once: every layer samples them in float32
        layers = zip(
            self.transformer.decoder.layers, self.cls_branches, self.reg_branches, strict=True
        )
        for layer, classify, regress in layers:
            with full_precision(query):
                query = layer(
                    query,
                    query_embeds,
                    absent,
                    feats=feats,
                    reference_points=reference_points,
                    lidar2img=lidar2img,
                    img_shape=frame.img_shape,
                )
            code, centers = refine_fp32(regress(query), reference_points, self.pc_range)
            logits.append(classify(query))
            boxes.append(code)
            reference_points = centers.detach()
        return HeadOutput(
            all_cls_scores=torch.stack(logits),
            all_bbox_preds=torch.stack(boxes),
            query_feats=query,
            reference_points=centers,
        )
