"""Golden files a_ (backbone and neck) and b_ (detection heads)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from projects.tracking_plugin.models.dense_heads.base import HeadOutput
from projects.tracking_plugin.models.dense_heads.petr_head import PETRCamTrackingHead, padding_mask
from projects.tracking_plugin.models.layers.positional_encoding import pos2posemb3d
from projects.tracking_plugin.parity.compare import GoldenFile, Row
from projects.tracking_plugin.parity.models import reference_frame, reference_model

BLAS_NOISE = 1e-6
NOISE_RUNS = 8
NOISE_MARGIN = 4.0


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
    reference = golden.arrays
    points = model.reference_points.weight[None]
    embeds = model.query_embedding(pos2posemb3d(points))
    feats = torch.zeros_like(embeds)
    if model.query_feat_embedding is not None:
        feats = model.query_feat_embedding.weight[None]
    yield Row("in_reference_points", points[0], reference["in_reference_points"])
    yield Row("in_query_embeds_s", embeds[0, :, ::16], reference["in_query_embeds_s"])
    yield Row("in_query_feats_s", feats[0, :, ::16], reference["in_query_feats_s"])
    maps = [x[None] for x in model.img_neck(model.img_backbone(frame.img.flatten(0, 1)))]
    head = model.pts_bbox_head
    out = head(maps, frame, feats, embeds, points)
    noise = _rounding_noise(out, lambda e: head(maps, frame, feats, e, points), embeds)
    for name, value in vars(out).items():
        yield Row(name, value, reference[name], noise=noise[name])
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


def _rounding_noise(
    out: HeadOutput, run: Callable[[Tensor], HeadOutput], embeds: Tensor
) -> dict[str, Tensor]:
    """How far each query's outputs move when its inputs change as between two BLAS libraries.

    Some queries of DETR3D's head amplify rounding thousandfold over the layers (random weights on
    random images: sampled features change from pixel to pixel): the float64 result is as far from
    the references as any float32 one. Relative changes of :data:`BLAS_NOISE` are what the query
    embeddings of the references show already.

    Returns:
        field of the output -> [..., N, 1] largest change over its entries, with a margin.
    """
    generator = torch.Generator().manual_seed(0)
    noise = {name: torch.zeros(()) for name in vars(out)}
    for _ in range(NOISE_RUNS):
        factor = 1 + BLAS_NOISE * torch.randn(embeds.shape, generator=generator)
        for name, value in vars(run(embeds * factor)).items():
            change = (value - vars(out)[name]).abs().amax(-1, keepdim=True)
            noise[name] = torch.maximum(noise[name], NOISE_MARGIN * change)
    return noise
