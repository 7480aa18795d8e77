"""The names of the labels, stated in several places of a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from pftrack.datasets.class_names import class_names
from pftrack.errors import UserError


@pytest.mark.parametrize("value", [True, 7, "car", {"car": 0}, ["car", 1]])
@pytest.mark.parametrize("splits", [("train",), ("train", "val"), ("val",)])
def test_no_list_of_names_is_refused(value: Any, splits: tuple[str, ...]) -> None:
    cfg = {"data": {split: {"classes": ["car", "bus"]} for split in splits}}
    cfg["data"][splits[-1]]["classes"] = value
    place = f"'data.{splits[-1]}.classes' in the config: a list of names expected"
    with pytest.raises(UserError, match=place):
        class_names(cfg)


def test_names_of_the_datasets_come_first() -> None:
    cfg = {"class_names": ["car"], "data": {"val": {"classes": ["bus", "car"]}}}
    assert class_names(cfg) == ("bus", "car")
