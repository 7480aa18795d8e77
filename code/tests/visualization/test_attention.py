"""The attention that notebooks show, for both kinds of heads."""

import numpy as np
import pytest
import torch

from pftrack.models.trackers.tracker import Cam3DTracker
from pftrack.structures import FrameBatch
from pftrack.visualization.attention import watch_attention

D, H, F, V = 32, 3, 4, 6
RANGE = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
SELF = {"type": "MultiheadAttention", "embed_dims": D, "num_heads": 4, "dropout": 0.0}
GATED = {
    "type": "Detr3DCrossAtten", "pc_range": RANGE, "embed_dims": D, "num_levels": 2, "dropout": 0.0,
}  # fmt: skip


def layer(kind: str, cross: dict) -> dict:
    return {"type": kind, "attn_cfgs": [SELF, cross], "feedforward_channels": 32}


def head(kind: str) -> dict:
    if kind != "detr3d":
        decoder = {
            "type": "PETRTransformerDecoder",
            "num_layers": 2,
            "transformerlayers": layer("PETRTransformerDecoderLayer", SELF),
        }
        return {
            "type": f"{'PETRv2' if kind == 'petrv2' else 'PETR'}CamTrackingHead",
            "position_range": [-61.2, -61.2, -10.0, 61.2, 61.2, 10.0],
            "positional_encoding": {"type": "SinePositionalEncoding3D", "num_feats": D // 2,
                                    "normalize": True},
            "embed_dims": D,
            "transformer": {"type": "PETRTransformer", "decoder": decoder},
        }  # fmt: skip
    decoder = {
        "type": "Detr3DTransformerDecoder",
        "num_layers": 2,
        "transformerlayers": layer("DetrTransformerDecoderLayer", GATED),
    }
    return {
        "type": "DETR3DCamTrackingHead",
        "transformer": {"type": "Detr3DTransformer", "decoder": decoder},
    }


def small_tracker(kind: str) -> torch.nn.Module:
    temporal = {
        "type": "TemporalTransformer",
        "decoder": {
            "type": "PETRTransformerDecoder",
            "num_layers": 1,
            "transformerlayers": layer("PETRTransformerDecoderLayer", SELF),
        },
    }
    torch.manual_seed(0)
    return Cam3DTracker(
        **{
            "num_classes": 7,
            "num_query": 12,
            "embed_dims": D,
            "img_backbone": {
                "type": "VoVNet", "spec_name": "V-19-slim-eSE",
                "out_features": ("stage4", "stage5"),
            },
            "img_neck": {
                "type": "CPFPN", "in_channels": [384, 512], "out_channels": D, "num_outs": 2,
            },
            "pts_bbox_head": {
                **head(kind), "num_classes": 7, "in_channels": D,
                "bbox_coder": {"type": "TrackNMSFreeCoder", "pc_range": RANGE, "max_num": 50,
                               "post_center_range": [-61.2, -61.2, -10, 61.2, 61.2, 10]},
            },
            "runtime_tracker": {"output_threshold": -1.0, "score_threshold": -1.0,
                                "record_threshold": 0.0},
            "spatial_temporal_reason": {
                "hist_len": H, "fut_len": F, "embed_dims": D,
                "hist_temporal_transformer": temporal, "spatial_transformer": temporal,
                "fut_temporal_transformer": temporal,
            },
        }
    ).eval()  # fmt: skip


def frame(t: int) -> FrameBatch:
    lidar2img = torch.zeros(1, V, 4, 4, dtype=torch.float64)
    for v in range(V):  # six cameras 60 degrees apart looking outwards
        yaw = np.pi / 3 * v
        forward = np.array([np.cos(yaw), np.sin(yaw), 0])
        right, down = np.array([np.sin(yaw), -np.cos(yaw), 0]), np.array([0, 0, -1.0])
        rows = [40 * right + 32 * forward, 40 * down + 32 * forward, forward]
        lidar2img[0, v, :3, :3] = torch.tensor(np.stack(rows))
        lidar2img[0, v, 3, 3] = 1
    generator = torch.Generator().manual_seed(t)
    return FrameBatch(
        img=torch.randn(1, V, 3, 64, 32, generator=generator),
        img_shape=(64, 32),
        lidar2img=lidar2img,
        l2g=torch.eye(4)[None],
        timestamp=torch.tensor([0.5 * t], dtype=torch.float64),
        scene_ids=["s"],
    )


@pytest.mark.parametrize("kind", ["petr", "petrv2", "detr3d"])
def test_attention_of_every_reported_track(kind):
    model = small_tracker(kind)
    outputs, memory = [], None
    with watch_attention(model) as watch:
        for t in range(2):
            output, memory = model.forward_track(frame(t), memory)
            watch(output, frame(t))
            outputs.append(output)
    assert len(watch.frames) == 2 and len(outputs[1].obj_ids) > 0
    for output, attention in zip(outputs, watch.frames, strict=True):
        assert list(attention) == [f"{s}-{i}" for s, i in output.obj_ids]
        for entry in attention.values():
            assert entry.cameras.shape == (V,)
            assert entry.past.shape == (H,) and entry.future.shape == (F, H)
            assert entry.past.sum() == pytest.approx(1, abs=1e-5)
            if kind != "detr3d":
                assert entry.maps.shape == (V, 4, 2)
                assert entry.maps.sum() == pytest.approx(1, abs=1e-4)
            else:
                assert entry.maps is None
                assert float(entry.cameras.sum()) == pytest.approx(1, abs=1e-5) or not any(
                    entry.cameras
                )
    first = next(iter(watch.frames[0].values()))
    assert first.past[:-1].abs().max() == 0  # in its first frame a track has no past
    second = next(e for k, e in watch.frames[1].items() if k in watch.frames[0])
    assert second.past[0] == 0 and second.past[1] > 0


def test_watching_changes_nothing_and_ends():
    model = small_tracker("petr")
    plain, memory = model.forward_track(frame(0))
    with watch_attention(model) as watch:
        watched, _ = model.forward_track(frame(0))
        watch(watched, frame(0))
    torch.testing.assert_close(watched.boxes, plain.boxes)
    model.forward_track(frame(1), memory)
    assert len(watch.frames) == 1
    assert not any(m._record or m._forward_hooks for m in model.modules() if hasattr(m, "_record"))
