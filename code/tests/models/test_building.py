"""What a configuration says of a model's parts is checked before they are built."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_tracker import tracker_config

from pftrack.errors import UserError
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
