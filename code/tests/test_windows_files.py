"""Files and paths that were written on Windows: byte order marks and backslashes."""

from __future__ import annotations

import json
from pathlib import Path

from pftrack.checkpoints.reading import find_checkpoint
from pftrack.config import load_config
from pftrack.datasets.frames import resolve_path
from pftrack.nuscenes.results_file import read_results
from pftrack.paths import CHECKPOINTS_DIR

MARK = "\ufeff"


def test_backslashes_separate_folders() -> None:
    image = r"D:\nuScenes\samples\CAM_FRONT\n015__CAM_FRONT__1.jpg"
    here = Path("/data/samples/CAM_FRONT/n015__CAM_FRONT__1.jpg")
    assert resolve_path(image, "/data") == here
    assert resolve_path(image.replace("\\", "/"), "/data") == here
    assert find_checkpoint(r"demo\f3_demo.pth") == CHECKPOINTS_DIR / "demo" / "f3_demo.pth"
    config = load_config(r"projects\configs\tracking\petr\f3_q5_800x320.py")
    assert config.model["num_query"] == 500


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    config = tmp_path / "mine.py"
    config.write_text(f"{MARK}model = dict(num_query=7)\ndata = dict()\n", encoding="utf-8")
    (tmp_path / "child.py").write_text(f"{MARK}_base_ = ['mine.py']\n", encoding="utf-8")
    for name in ("mine.py", "child.py"):
        assert load_config(tmp_path / name).model["num_query"] == 7
    results = tmp_path / "results.json"
    results.write_text(MARK + json.dumps({"meta": {}, "results": {"a": []}}), encoding="utf-8")
    assert list(read_results(results)) == [("a", [])]
