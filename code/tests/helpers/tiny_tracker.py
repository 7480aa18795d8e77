"""A tracker small enough for unit tests, and clips for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pftrack import models  # noqa: F401 (registers the components)
from pftrack.registry import build_model
from pftrack.structures import ClipBatch, FrameTargets

D, QUERIES, FUTURE = 32, 12, 4
PC_RANGE = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
HEIGHT, WIDTH = 64, 96


def decoder(layers: int) -> dict[str, Any]:
    attention = {"type": "MultiheadAttention", "embed_dims": D, "num_heads": 4, "dropout": 0.0}
    layer = {
        "type": "PETRTransformerDecoderLayer",
        "attn_cfgs": [attention, attention],
        "feedforward_channels": 32,
        "ffn_dropout": 0.0,
    }
    return {"type": "PETRTransformerDecoder", "num_layers": layers, "transformerlayers": layer}


def tracker_config(num_classes: int = 10, reasoning: bool = True, **changes: Any) -> dict[str, Any]:
    temporal = {"type": "TemporalTransformer", "decoder": decoder(1)}
    return {
        "type": "Cam3DTracker",
        "num_classes": num_classes,
        "num_query": QUERIES,
        "embed_dims": D,
        "tracking": reasoning,
        "img_backbone": {
            "type": "VoVNet", "spec_name": "V-19-slim-eSE", "out_features": ("stage4", "stage5"),
        },
        "img_neck": {"type": "CPFPN", "in_channels": [384, 512], "out_channels": D, "num_outs": 2},
        "pts_bbox_head": {
            "type": "PETRCamTrackingHead",
            "num_classes": num_classes,
            "in_channels": D,
            "embed_dims": D,
            "depth_num": 4,
            "position_range": [-61.2, -61.2, -10.0, 61.2, 61.2, 10.0],
            "transformer": {"type": "PETRTransformer", "decoder": decoder(2)},
            "positional_encoding": {
                "type": "SinePositionalEncoding3D", "num_feats": D // 2, "normalize": True,
            },
        },
        "spatial_temporal_reason": {
            "history_reasoning": reasoning,
            "future_reasoning": reasoning,
            "fut_len": FUTURE,
            "hist_temporal_transformer": temporal,
            "spatial_transformer": temporal,
            "fut_temporal_transformer": temporal,
        },
        "runtime_tracker": {"max_age_since_update": 3},
        **changes,
    }  # fmt: skip


def detr3d(layers: int = 2) -> dict[str, Any]:
    """Changes that make the small tracker a DETR3D."""
    parts = decoder(layers)
    look = {
        "type": "Detr3DCrossAtten",
        "embed_dims": D,
        "num_levels": 2,
        "dropout": 0.0,
        "pc_range": list(PC_RANGE),
    }
    layer = parts["transformerlayers"]
    layer["attn_cfgs"] = [layer["attn_cfgs"][0], look]
    parts["type"] = "Detr3DTransformerDecoder"
    head = {
        "type": "DETR3DCamTrackingHead",
        "num_classes": 10,
        "in_channels": D,
        "transformer": {"type": "Detr3DTransformer", "decoder": parts},
    }
    return {"pts_bbox_head": head}


def petrv2() -> dict[str, Any]:
    """Changes that make the small tracker a PETRv2."""
    return {"pts_bbox_head": {**tracker_config()["pts_bbox_head"], "type": "PETRv2CamTrackingHead"}}


def tiny_tracker(seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    return build_model(tracker_config(**changes))


def cameras(count: int) -> torch.Tensor:
    """[V, 4, 4] lidar2img of cameras that look around, 60 degrees apart."""
    intrinsics = np.array(
        [[70.0, 0, WIDTH / 2, 0], [0, 70, HEIGHT / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    matrices = []
    for yaw in np.arange(count) * np.pi / 3:
        c, s = np.cos(yaw), np.sin(yaw)
        lidar2cam = np.array([[s, -c, 0, 0], [0, 0, -1, 0], [c, s, 0, 0], [0, 0, 0, 1.0]])
        matrices.append(intrinsics @ lidar2cam)
    return torch.from_numpy(np.stack(matrices))


def targets(count: int, first_id: int = 0, num_classes: int = 10, seed: int = 0) -> FrameTargets:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 9, generator=generator)
    boxes[:, :2] = boxes[:, :2] * 60 - 30
    boxes[:, 3:6] += 1
    locs = boxes[:, None, :3] + torch.arange(13.0)[None, :, None]
    return FrameTargets(
        boxes=boxes,
        labels=torch.randint(num_classes, (count,), generator=generator),
        instance_inds=torch.arange(first_id, first_id + count),
        forecasting_locs=locs.double(),
        forecasting_masks=torch.ones(count, 13, dtype=torch.bool),
    )


def clip(
    objects: list[list[int]], num_cameras: int = 6, num_classes: int = 10, seed: int = 0
) -> ClipBatch:
    """``objects[b][t]`` is the number of ground truths of frame t of clip b."""
    batch, frames = len(objects), len(objects[0])
    generator = torch.Generator().manual_seed(seed)
    l2g = torch.eye(4).repeat(batch, frames, 1, 1)
    l2g[..., 0, 3] = torch.arange(frames) * 2.0
    return ClipBatch(
        img=torch.randn(batch, frames, num_cameras, 3, HEIGHT, WIDTH, generator=generator),
        img_shape=(HEIGHT, WIDTH),
        lidar2img=cameras(num_cameras).expand(batch, frames, -1, -1, -1),
        l2g=l2g,
        timestamp=(torch.arange(frames, dtype=torch.float64) / 2).expand(batch, -1),
        targets=[
            [targets(n, num_classes=num_classes, seed=seed + b) for n in counts]
            for b, counts in enumerate(objects)
        ],
    )
