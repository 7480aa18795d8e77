"""Results files are read sample by sample; damaged ones are named."""

import json
from pathlib import Path

import pytest

from pftrack.errors import UserError
from pftrack.nuscenes.results_file import is_detection_file, read_results


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_samples_in_order_and_everything_else_by_name(tmp_path: Path) -> None:
    results = {"b": [{"tracking_id": "1"}], "a": []}
    path = write(tmp_path / "r.json", {"meta": {"use_camera": True}, "results": results, "x": 1})
    others: dict = {}
    assert list(read_results(path, others)) == list(results.items())
    assert others == {"meta": {"use_camera": True}, "x": 1}


@pytest.mark.parametrize(
    ("results", "detection"),
    [
        ({"a": [], "b": [{"detection_name": "car"}]}, True),
        ({"a": [{"tracking_name": "car"}]}, False),
        ({"a": []}, False),
    ],
)
def test_the_first_box_tells_detection_from_tracking(tmp_path, results, detection) -> None:
    assert is_detection_file(write(tmp_path / "r.json", {"results": results})) is detection


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "top level must be an object"),
        ({"results": [1]}, "must map sample tokens"),
        ({"meta": {}}, "no 'results'"),
        ('{"results": {"a": [', r"r\.json"),
    ],
)
def test_damaged_files(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(read_results(write(tmp_path / "r.json", content)))
