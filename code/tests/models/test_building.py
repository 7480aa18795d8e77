"""What a configuration says of a model's parts is checked before they are built."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_tracker import D, detr3d, tracker_config
from torch import nn

from pftrack.errors import UserError
from pftrack.models.shapes import check_maps
from pftrack.registry import build_model


def changed(path: str, value: Any) -> dict[str, Any]:
    config = tracker_config()
    *above, last = path.split(".")
    node = config
    for name in above:
        node = node[name]
    node[last] = value
    return config


@pytest.mark.parametrize("value", [7, True, ["x", None], {"a": 1}])
@pytest.mark.parametrize(
    "path",
    ["type", *(f"{part}.type" for part in ("img_backbone", "img_neck", "pts_bbox_head", "loss"))],
)
def test_a_type_is_a_name(path: str, value: Any) -> None:
    config = tracker_config() | {"loss": {"type": "TrackingLoss"}}
    node = config if path == "type" else config[path.split(".")[0]]
    node["type"] = value
    with pytest.raises(UserError, match="in the config"):
        build_model(config)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("pts_bbox_head.bbox_coder", "abc"),
        ("pts_bbox_head.bbox_coder", True),
        ("spatial_temporal_reason.fut_len", [1]),
        ("spatial_temporal_reason.hist_len", {"a": 1}),
        ("spatial_temporal_reason.future_reasoning", -1.5),
        ("spatial_temporal_reason.spatial_transformer", "abc"),
    ],
)
def test_a_part_has_the_type_that_is_declared(path: str, value: Any) -> None:
    with pytest.raises(UserError, match=path.rpartition(".")[2]):
        build_model(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("pts_bbox_head.position_range", [61.2, 61.2, 10.0, -61.2, -61.2, -10.0]),
        ("pts_bbox_head.position_range", [-61.2, -61.2, 61.2, 61.2]),
        ("pts_bbox_head.bbox_coder.pc_range", [-51.2, -51.2, -5.0, 51.2, -51.2, 3.0]),
        ("pts_bbox_head.bbox_coder.post_center_range", [9.0, -61.2, -10.0, 8.0, 61.2, 10.0]),
    ],
)
def test_a_range_ends_after_it_begins(path: str, value: Any) -> None:
    config = tracker_config()
    config["pts_bbox_head"]["bbox_coder"] = {"type": "BoxCoder"}
    *_above, part, setting = path.split(".")
    node = config["pts_bbox_head"]
    (node["bbox_coder"] if part == "bbox_coder" else node)[setting] = value
    with pytest.raises(UserError, match=setting):
        build_model(config)


@pytest.mark.parametrize("start", [-1.0, 61.2, 100.0])
def test_depths_begin_before_they_end(start: float) -> None:
    with pytest.raises(UserError, match="depth_start"):
        build_model(changed("pts_bbox_head.depth_start", start))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("img_neck.in_channels", [512, 384]),
        ("img_neck.in_channels", [384, 0]),
        ("img_backbone.out_features", ("stage4",)),
        ("img_backbone.input_ch", 4),
        ("img_backbone.frozen_stages", -3),
        ("pts_bbox_head.in_channels", D + 1),
        ("pts_bbox_head.transformer.decoder.num_layers", 0),
        ("spatial_temporal_reason.embed_dims", D + 2),
        ("runtime_tracker.score_threshold", 40.0),
        ("runtime_tracker.max_age_since_update", -1),
    ],
)
def test_parts_that_cannot_work_together_are_refused(path: str, value: Any) -> None:
    with pytest.raises(UserError, match="in the config"):
        build_model(changed(path, value))


def test_a_head_that_looks_at_other_maps_than_the_neck_makes() -> None:
    config = tracker_config(**detr3d())
    build_model(config)
    attention = config["pts_bbox_head"]["transformer"]["decoder"]["transformerlayers"]
    attention["attn_cfgs"][1]["num_levels"] += 1
    with pytest.raises(UserError, match="num_levels=3, but the neck returns 2 maps"):
        build_model(config)


def test_a_backbone_that_cannot_run_without_data_is_believed() -> None:
    class Picky(nn.Module):
        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            assert images.shape[-1] == 224
            return [images]

    check_maps(Picky(), nn.Identity(), nn.Identity())


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("loss_cls", {"loss_weight": -2.0}),
        ("loss_cls", {"gamma": -1.0}),
        ("loss_cls", {"alpha": 25.0}),
        ("loss_bbox", {"loss_weight": -0.25}),
    ],
)
def test_a_loss_that_rewards_errors_is_refused(part: str, changes: dict[str, Any]) -> None:
    kind = "FocalLoss" if part == "loss_cls" else "L1Loss"
    loss = {"type": "TrackingLoss", part: {"type": kind, **changes}}
    with pytest.raises(UserError, match=next(iter(changes))):
        build_model(tracker_config(loss=loss))


def test_weights_of_the_code_are_not_negative() -> None:
    weights = [1.0] * 9 + [-0.2]
    with pytest.raises(UserError, match="code_weights"):
        build_model(tracker_config(loss={"type": "TrackingLoss", "code_weights": weights}))
