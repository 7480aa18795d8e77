"""Detection heads: projections by hand, caches, batches, and the example of the documentation."""

from __future__ import annotations

import copy
import math
import re

import pytest
import torch

from pftrack.errors import UserError
from pftrack.models.acceleration import cast_weights, precision_context
from pftrack.models.dense_heads.petr_head import padding_mask
from pftrack.models.layers.detr3d_attention import project_to_cameras
from pftrack.paths import REPOSITORY
from pftrack.registry import build_model
from pftrack.structures import ClipBatch, FrameBatch, FrameTargets

DOC = REPOSITORY / "docs" / "detection_heads.md"
PC_RANGE = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
D, CLASSES = 32, 4
SELF = {"type": "MultiheadAttention", "embed_dims": D, "num_heads": 4, "dropout": 0.1}


def cameras(batch: int, num: int) -> torch.Tensor:
    """[B, V, 4, 4]: pinholes at the origin, V directions, focal length 16 px, 32x64 images."""
    matrices = []
    for i in range(num):
        yaw = 2 * math.pi * i / num
        forward = torch.tensor([math.cos(yaw), math.sin(yaw), 0.0])
        left = torch.tensor([-math.sin(yaw), math.cos(yaw), 0.0])
        rotation = torch.stack([-left, torch.tensor([0.0, 0.0, -1.0]), forward])
        matrix = torch.eye(4)
        intrinsic = torch.tensor([[16.0, 0, 32], [0, 16, 16], [0, 0, 1]])
        matrix[:3, :3] = intrinsic @ rotation
        matrices.append(matrix)
    return torch.stack(matrices).double().expand(batch, -1, -1, -1).clone()


def make_frame(batch: int = 1, num: int = 2, img_shape: tuple[int, int] = (32, 64)) -> FrameBatch:
    return FrameBatch(
        img=torch.randn(batch, num, 3, 32, 64),
        img_shape=img_shape,
        lidar2img=cameras(batch, num),
        l2g=torch.eye(4).expand(batch, 4, 4),
        timestamp=torch.zeros(batch, dtype=torch.float64),
    )


def head_config(kind: str, cams: int = 2) -> dict:
    cross = SELF
    if kind == "DETR3D":
        cross = {"type": "Detr3DCrossAtten", "pc_range": PC_RANGE, "embed_dims": D,
                 "num_levels": 1, "num_cams": cams}  # fmt: skip
    layer = {"type": "DetrTransformerDecoderLayer", "attn_cfgs": [SELF, cross],
             "feedforward_channels": 64}  # fmt: skip
    decoder = {"type": f"{'PETR' if kind == 'PETR' else 'Detr3D'}TransformerDecoder",
               "num_layers": 2, "transformerlayers": layer}  # fmt: skip
    config = {
        "type": f"{kind}CamTrackingHead", "num_classes": CLASSES, "in_channels": D,
        "pc_range": PC_RANGE, "transformer": {"type": "PETRTransformer", "decoder": decoder},
    }  # fmt: skip
    if kind == "PETR":
        config |= {
            "embed_dims": D, "depth_num": 8,
            "position_range": [-61.2, -61.2, -10.0, 61.2, 61.2, 10.0],
            "positional_encoding": {"type": "SinePositionalEncoding3D", "num_feats": D // 2},
        }  # fmt: skip
    return config


def queries(batch: int, n: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(batch, n, D), torch.randn(batch, n, D), torch.rand(batch, n, 3)


def test_projection_by_hand() -> None:
    # 8 m ahead of camera 0, 2 m to its left, 1 m up: pixel (32 - 16*2/8, 16 - 16*1/8) = (28, 14).
    point = torch.tensor([8.0, 2.0, 1.0])
    low, high = torch.tensor(PC_RANGE[:3]), torch.tensor(PC_RANGE[3:])
    normalized = ((point - low) / (high - low))[None, None]
    positions, visible = project_to_cameras(normalized, cameras(1, 2), (32, 64), PC_RANGE)
    assert torch.allclose(positions[0, 0, 0], torch.tensor([28 / 32 - 1, 14 / 16 - 1]), atol=1e-5)
    assert visible[0, :, 0].tolist() == [True, False]


def test_padding_mask() -> None:
    assert padding_mask(make_frame(), (2, 4)) is None
    mask = padding_mask(make_frame(img_shape=(20, 40)), (2, 4))
    # Feature row 1 stands for image row 16 < 20; columns 0, 16, 32 < 40 <= 48.
    assert mask is not None and mask[0, 0].tolist() == [[False, False, False, True]] * 2


@pytest.mark.parametrize("kind", ["PETR", "DETR3D"])
def test_batch_equals_single_and_queries_permute(kind: str) -> None:
    torch.manual_seed(0)
    head = build_model(head_config(kind)).eval()
    frame, feats, (content, embeds, points) = make_frame(2), torch.randn(2, 2, D, 2, 4), queries(2)
    both = head([feats], frame, content, embeds, points)
    assert both.all_cls_scores.shape == (2, 2, 5, CLASSES)
    assert both.all_bbox_preds.shape == (2, 2, 5, 10)
    assert both.query_feats.shape == (2, 5, D) and both.reference_points.shape == (2, 5, 3)
    single_frame = FrameBatch(
        frame.img[1:], frame.img_shape, frame.lidar2img[1:], frame.l2g[1:], frame.timestamp[1:]
    )
    one = head([feats[1:]], single_frame, content[1:], embeds[1:], points[1:])
    torch.testing.assert_close(one.all_bbox_preds, both.all_bbox_preds[:, 1:])
    order = torch.tensor([3, 0, 4, 1, 2])
    permuted = head([feats], frame, content[:, order], embeds[:, order], points[:, order])
    torch.testing.assert_close(permuted.all_bbox_preds, both.all_bbox_preds[:, :, order])
    torch.testing.assert_close(permuted.query_feats, both.query_feats[:, order])


@pytest.mark.parametrize("kind", ["PETR", "DETR3D"])
def test_half_precision_is_for_images_alone(kind: str) -> None:
    """Keys and the attention to them are rounded; what queries hold, and boxes, never."""
    torch.manual_seed(0)
    head = build_model(head_config(kind)).eval()
    cast = copy.deepcopy(head)
    cast_weights(cast, "bf16")
    halves = {name for name, p in cast.named_parameters() if p.dtype == torch.bfloat16}
    images = ("input_proj", "adapt_pos3d", "position_encoder", ".attentions.1.attn")
    expected = {name for name, _ in cast.named_parameters() if any(part in name for part in images)}
    assert halves == (expected if kind == "PETR" else set())

    feats = torch.randn(1, 2, D, 2, 4).bfloat16()
    frame, inputs = make_frame(), queries(1)
    full = head([feats.float()], frame, *inputs)
    with precision_context("bf16", torch.device("cpu")):
        rounded, cast_once = (h([feats], frame, *inputs) for h in (head, cast))
    assert torch.equal(rounded.all_bbox_preds, cast_once.all_bbox_preds)
    for name in ("all_cls_scores", "all_bbox_preds", "query_feats", "reference_points"):
        value, exact = getattr(rounded, name), getattr(full, name)
        assert value.dtype == torch.float32
        if kind == "DETR3D":
            assert torch.equal(value, exact)
        else:
            assert 0 < (value - exact).abs().max() < 0.01 * exact.abs().max()


def test_centers_are_the_normalised_boxes() -> None:
    torch.manual_seed(0)
    head = build_model(head_config("DETR3D")).eval()
    out = head([torch.randn(1, 2, D, 2, 4)], make_frame(), *queries(1))
    x = out.all_bbox_preds[-1, ..., 0]
    torch.testing.assert_close((x + 51.2) / 102.4, out.reference_points[..., 0])


def test_recomputed_layers_give_the_same_gradients() -> None:
    torch.manual_seed(0)
    config = head_config("PETR")
    head = build_model(config)
    for module in head.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    feats, frame, inputs = torch.randn(1, 2, D, 2, 4), make_frame(), queries(1)

    def gradient(with_cp: bool) -> torch.Tensor:
        for layer in head.transformer.decoder.layers:
            layer.with_cp = with_cp
            for attention in layer.attentions:
                attention.attn.dropout = 0.0
        head.zero_grad()
        head([feats], frame, *inputs).all_bbox_preds.sum().backward()
        return head.input_proj.weight.grad.clone()

    torch.testing.assert_close(gradient(True), gradient(False))


def test_positions_are_kept_until_something_changes() -> None:
    head = build_model(head_config("PETR")).eval()
    frame = make_frame()
    with torch.no_grad():
        first = head.key_positions(frame, (2, 4))
        assert head.key_positions(make_frame(), (2, 4)) is first  # equal calibration, other object
        frame.lidar2img[0, 0, 0, 3] += 1.0
        moved = head.key_positions(frame, (2, 4))
        assert moved is not first and not torch.equal(moved, first)
        head.position_encoder[0].bias.add_(1.0)
        assert not torch.equal(head.key_positions(frame, (2, 4)), moved)
    assert head.key_positions(frame, (2, 4)).requires_grad


def test_unknown_settings_are_named() -> None:
    with pytest.raises(UserError, match="unknown setting 'depth_nun' of PETRCamTrackingHead"):
        build_model(head_config("PETR") | {"depth_nun": 3})
    with pytest.raises(UserError, match="with_box_refine"):
        build_model(head_config("DETR3D") | {"with_box_refine": False})
    config = head_config("PETR")
    del config["pc_range"]
    with pytest.raises(UserError, match="needs pc_range"):
        build_model(config)
    built = build_model(config | {"bbox_coder": {"pc_range": PC_RANGE}, "normedlinear": False})
    assert built.pc_range == PC_RANGE


def test_the_documented_head_trains_and_tracks() -> None:
    code = re.search(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert code is not None
    exec(compile(code.group(1), str(DOC), "exec"), {})
    torch.manual_seed(0)
    model = build_model({
        "type": "Cam3DTracker", "num_classes": 10, "num_query": 6, "embed_dims": D,
        "tracking": False, "if_update_ego": False, "motion_prediction": False,
        "img_backbone": {"type": "VoVNet", "spec_name": "V-19-slim-dw-eSE",
                         "out_features": ["stage5"]},
        "img_neck": {"type": "CPFPN", "in_channels": [512], "out_channels": D, "num_outs": 1},
        "pts_bbox_head": {"type": "MinimalHead", "num_classes": 10, "in_channels": D,
                          "bbox_coder": {"type": "TrackNMSFreeCoder", "pc_range": PC_RANGE}},
        "spatial_temporal_reason": {"history_reasoning": False, "future_reasoning": False,
                                    "embed_dims": D},
    })  # fmt: skip
    truth = FrameTargets(
        boxes=torch.tensor([[8.0, 2, 0, 2, 4, 1.5, 0, 0, 0]]),
        labels=torch.tensor([0]),
        instance_inds=torch.tensor([7]),
        forecasting_locs=torch.zeros(1, 13, 3),
        forecasting_masks=torch.ones(1, 13, dtype=torch.bool),
    )
    clip = ClipBatch(
        img=torch.randn(1, 1, 2, 3, 32, 64), img_shape=(32, 64), lidar2img=cameras(1, 2)[:, None],
        l2g=torch.eye(4)[None, None], timestamp=torch.zeros(1, 1, dtype=torch.float64),
        targets=[[truth]],
    )  # fmt: skip
    losses = model.train()(clip)
    sum(v for k, v in losses.items() if "loss" in k).backward()
    assert model.pts_bbox_head.camera.weight.grad.abs().sum() > 0
    with torch.no_grad():
        output, _ = model.eval().forward_track(clip.frame(0))
    assert output.boxes.shape[-1] == 9
