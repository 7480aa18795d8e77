"""Golden files a_ (backbone and neck) and b_ (detection heads)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from laboratory.parity.arithmetic import arithmetic_of
from laboratory.parity.compare import GoldenFile, Row
from laboratory.parity.models import reference_frame, reference_model
from pftrack.models.dense_heads.detr3d_head import DETR3DCamTrackingHead
from pftrack.models.dense_heads.petr_head import PETRCamTrackingHead, padding_mask


def _stats(x: Tensor) -> np.ndarray:
    """Mean, population standard deviation, minimum, maximum in float64."""
    x = x.double()
    return np.array([x.mean(), x.std(correction=0), x.min(), x.max()])


@torch.no_grad()
def check_features(golden: GoldenFile) -> Iterator[Row]:
    """a_: feature maps of one frame, subsampled, and their statistics."""
    model, frame = reference_model(golden), reference_frame(golden)
    reference = golden.arrays
    img = frame.img.double()
    yield Row("img_checksum", np.array([img.sum(), img.abs().sum()]), reference["img_checksum"])
    backbone = model.img_backbone(frame.img.flatten(0, 1))
    neck = model.img_neck(backbone)
    for i, x in enumerate(backbone):
        yield Row(f"backbone{i}_shape", np.array(x.shape), reference[f"backbone{i}_shape"])
        yield Row(f"backbone{i}_stats", _stats(x), reference[f"backbone{i}_stats"])
        yield Row(f"backbone{i}_sub", x[:, ::32, ::2, ::3], reference[f"backbone{i}_sub"])
    for i, x in enumerate(neck):
        x = x[None]
        yield Row(f"neck{i}_shape", np.array(x.shape), reference[f"neck{i}_shape"])
        yield Row(f"neck{i}_stats", _stats(x), reference[f"neck{i}_stats"])
        yield Row(f"neck{i}_sub", x[0, :, ::8, ::2, ::3], reference[f"neck{i}_sub"])


@torch.no_grad()
def check_head(golden: GoldenFile) -> Iterator[Row]:
    """b_: the head on the detection queries of a first frame."""
    model, frame = reference_model(golden), reference_frame(golden)
    reference, head = golden.arrays, model.pts_bbox_head
    points = model.reference_points.weight
    content = model.query_feat_embedding
    with arithmetic_of(model):
        maps = [x[None] for x in model.img_neck(model.img_backbone(frame.img.flatten(0, 1)))]
        embeds = model.embed_positions(points)
        feats = torch.zeros_like(embeds) if content is None else content.weight
        out = head(maps, frame, feats[None], embeds[None], points[None])
    yield Row("in_reference_points", points, reference["in_reference_points"])
    yield Row("in_query_embeds_s", embeds[:, ::16], reference["in_query_embeds_s"])
    yield Row("in_query_feats_s", feats[:, ::16], reference["in_query_feats_s"])
    for name, value in vars(out).items():
        if value is not None:  # the original's heads remember nothing
            yield Row(name, value, reference[name])
    if isinstance(head, DETR3DCamTrackingHead):
        # With PyTorch's own arithmetic, before the following layers multiply the difference.
        out = head(maps, frame, feats[None], embeds[None], points[None])
        for name in ("all_cls_scores", "all_bbox_preds"):
            yield Row(f"{name}.own_arithmetic_0", vars(out)[name][0], reference[name][0])
    if isinstance(head, PETRCamTrackingHead):
        size = (maps[0].shape[-2], maps[0].shape[-1])
        mask = padding_mask(frame, size)
        if mask is None:
            mask = torch.zeros(1, frame.img.shape[1], *size, dtype=torch.bool)
        frustum = head.frustum(frame, size)
        outside = ((frustum < 0) | (frustum > 1)).flatten(2, 3).sum(2)
        rays = head.ray_embedding(frustum)
        yield Row("key_mask", mask, reference["key_mask"])
        yield Row("coords_mask", mask | (outside > frustum.shape[2] / 2), reference["coords_mask"])
        yield Row("pos_embed_sub", rays[0, :, ::16], reference["pos_embed_sub"])
        yield Row("pos_embed_stats", _stats(rays), reference["pos_embed_stats"])
