"""What the official devkit asks of a data set is asked before the work, not after."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pftrack.errors import UserError
from pftrack.evaluation import devkit


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with all that the devkit opens."""
    tables = tmp_path / "v1.0-mini"
    tables.mkdir()
    for name in devkit._TABLES:
        (tables / f"{name}.json").write_text("[]")
    (tables / "map.json").write_text(json.dumps([{"filename": "maps/a.png"}]))
    (tables / "category.json").write_text(json.dumps([{"name": "car"}]))
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "a.png").touch()
    return tmp_path


def test_a_whole_data_set_is_taken(data: Path) -> None:
    assert devkit.check_data(data, "v1.0-mini") is None


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("maps/a.png", "maps/a.png"),
        ("v1.0-mini/log.json", "v1.0-mini/log.json"),
        ("v1.0-mini/map.json", "v1.0-mini/map.json"),
    ],
)
def test_a_missing_file_is_named_with_the_way_out(data: Path, gone: str, named: str) -> None:
    (data / gone).unlink()
    with pytest.raises(UserError, match=f"than there is: {named}; use the other engine"):
        devkit.check_data(data, "v1.0-mini", "use the other engine")
    with pytest.raises(UserError, match=f"{named}; add it"):
        devkit.evaluate_detection_devkit(data / "r.json", data, "v1.0-mini", "mini_val", data)


def test_several_missing_files_are_counted(data: Path) -> None:
    for name in ("log", "sample", "sensor"):
        (data / "v1.0-mini" / f"{name}.json").unlink()
    with pytest.raises(UserError, match=r"v1.0-mini/sensor.json and 2 more"):
        devkit.check_data(data, "v1.0-mini")


@pytest.mark.parametrize("task", ["lidarseg", "panoptic"])
def test_tables_of_point_labels_want_their_files_and_indices(data: Path, task: str) -> None:
    tables = data / "v1.0-mini"
    (tables / f"{task}.json").write_text(json.dumps([{"filename": "a.bin"}]))
    with pytest.raises(UserError, match=f"'index' in v1.0-mini/category.json .*with {task}"):
        devkit.check_data(data, "v1.0-mini")
    (tables / "category.json").write_text(json.dumps([{"name": "car", "index": 1}]))
    with pytest.raises(UserError, match=rf"label files in {task}/v1.0-mini \(0 found\)"):
        devkit.check_data(data, "v1.0-mini")
    (data / task / "v1.0-mini").mkdir(parents=True)
    (data / task / "v1.0-mini" / "a.bin").touch()
    assert devkit.check_data(data, "v1.0-mini") is None
