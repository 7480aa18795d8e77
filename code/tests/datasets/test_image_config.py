"""Sizes, augmentation and normalisation are checked wherever a configuration states them."""

from __future__ import annotations

from typing import Any

import pytest
from mmcv import Config

from pftrack.datasets.image_config import AugmentationConfig, pad_divisor, pixel_norm
from pftrack.datasets.image_settings import ImageSettings
from pftrack.errors import UserError
from pftrack.frames import PIXEL_MEAN
from pftrack.values import check_range


def test_what_is_stated_is_read() -> None:
    conf = AugmentationConfig.from_dict({"final_dim": [320, 800], "resize_lim": [1, 2]})
    assert (conf.final_dim, conf.resize_lim, conf.H) == ((320, 800), (1.0, 2.0), 900)
    assert pixel_norm({"std": [1, 1.0, 255]}) == (tuple(PIXEL_MEAN), (1.0, 1.0, 255.0))
    assert pad_divisor(1) == 1
    check_range("x", [-1, -1, -1, 1, 1, 1])


@pytest.mark.parametrize("value", [0, -32, 1.5, "32x", None, [32]])
def test_a_divisor_is_a_whole_number(value: Any) -> None:
    with pytest.raises(UserError, match="size_divisor"):
        pad_divisor(value)


@pytest.mark.parametrize("value", ["abc", 7, None, [1.0], [1.0, 1.0, 0.0], [1, 2, float("nan")]])
def test_a_deviation_is_positive(value: Any) -> None:
    with pytest.raises(UserError, match=r"img_norm_cfg\.std"):
        pixel_norm({"std": value})


@pytest.mark.parametrize(
    "stated",
    [
        {"ida_aug_conf": {"final_dim": (320, 0)}},
        {"img_norm_cfg": {"std": [0.0, 0.0, 0.0]}},
        {"img_norm_cfg": {"mean": [1.0, 2.0]}},
        {"size_divisor": 0},
    ],
)
def test_tracking_checks_what_training_checks(stated: dict[str, Any]) -> None:
    split = {"ida_aug_conf": {"final_dim": (320, 800)}, **stated}
    with pytest.raises(UserError, match="in the config"):
        ImageSettings.from_config(Config({"data": {"test": split}}))
