"""Which data a configuration is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from pftrack.config import load_config
from pftrack.datasets.build import data_options
from pftrack.errors import UserError

CONFIG = "projects/configs/tracking/petr/f3_q5_800x320.py"


def test_other_data_replace_folder_and_info_files(tmp_path: Path) -> None:
    options = data_options(CONFIG, tmp_path, "v1.0-mini", ["data.val.data_root='/mine'"])
    data = load_config(CONFIG, options).data
    assert data.train.data_root == str(tmp_path) and data.val.data_root == "/mine"
    assert data.train.ann_file == f"{tmp_path}/tracking_forecasting-mini_infos_train.pkl"
    assert data.val.ann_file == f"{tmp_path}/tracking_forecasting-mini_infos_val.pkl"


def test_a_version_alone_stays_in_the_folder() -> None:
    data = load_config(CONFIG, data_options(CONFIG, None, "v1.0-mini")).data
    before = load_config(CONFIG).data
    assert data.train.data_root == before.train.data_root
    assert Path(data.train.ann_file).parent == Path(before.train.ann_file).parent
    assert data.train.ann_file.endswith("-mini_infos_train.pkl")
    assert data_options(CONFIG, None, None, ["a=1"]) == ("a=1",)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no nuScenes folder"):
        data_options(CONFIG, tmp_path / "none")
    with pytest.raises(UserError, match=r"unknown nuScenes version 'v2'"):
        data_options(CONFIG, None, "v2")
