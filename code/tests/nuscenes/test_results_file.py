"""Results files are read sample by sample; damaged ones are named."""

import json
from pathlib import Path

import pytest

from pftrack.errors import UserError
from pftrack.nuscenes.results_file import is_detection_file, read_results

PLACE = {"translation": [1, 2, 3], "size": [2, 4, 1.5], "rotation": [1, 0, 0, 0]}
BOX = {**PLACE, "tracking_name": "car", "tracking_score": 0.5, "tracking_id": "7"}
NAN = float("nan")


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_samples_in_order_and_everything_else_by_name(tmp_path: Path) -> None:
    results = {"b": [{**BOX, "tracking_id": "1"}], "a": []}
    path = write(tmp_path / "r.json", {"meta": {"use_camera": True}, "results": results, "x": 1})
    others: dict = {}
    assert list(read_results(path, others)) == list(results.items())
    assert others == {"meta": {"use_camera": True}, "x": 1}


@pytest.mark.parametrize(
    ("results", "detection"),
    [
        ({"a": [], "b": [{**PLACE, "detection_name": "car", "detection_score": 1}]}, True),
        ({"a": [BOX]}, False),
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
        ('{"results": {"a": ' + "[" * 100_000, "lists within lists without end"),
    ],
)
def test_damaged_files(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(read_results(write(tmp_path / "r.json", content)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"translation": [1, 2]}, r"translation must be 3 finite numbers, not \[1, 2\]"),
        ({"translation": [1, 2, NAN]}, "translation must be 3 finite numbers"),
        ({"size": [1, 0, 1]}, "size must be 3 finite numbers above 0"),
        ({"rotation": [0, 0, 0, 0]}, "rotation must be a unit quaternion, not"),
        ({"rotation": [1, 0, 0, "0"]}, "rotation must be 4 finite numbers"),
        ({"velocity": [float("inf"), 0]}, "velocity must be 2 numbers"),
        ({"tracking_score": 1.5}, "tracking_score must be a finite number from 0 to 1, not 1.5"),
        ({"tracking_score": -0.1}, "tracking_score must be a finite number from 0 to 1"),
        ({"tracking_name": "tram"}, "unknown tracking_name 'tram'"),
        ({"tracking_name": None}, "neither a tracking_name nor a detection_name"),
        ({"tracking_id": [1]}, "tracking_id must be a string"),
        ({"tracking_id": None}, "tracking_id must be a string, not None"),
        ({"tracking_score": None}, "tracking_score must be a finite number from 0 to 1, not None"),
        ({"forecasting": None}, r"forecasting must be a list of finite \(x, y\) steps, not None"),
        ({"sample_token": "b"}, "it names another sample_token, 'b'"),
        ({"forecasting": [[0, NAN]]}, r"forecasting must be a list of finite \(x, y\) steps"),
    ],
)
def test_wrong_boxes_are_named(tmp_path: Path, change: dict, message: str) -> None:
    path = write(tmp_path / "r.json", {"results": {"a": [BOX, {**BOX, **change}]}})
    with pytest.raises(UserError, match=f"box 1 of sample 'a': {message}"):
        list(read_results(path))


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("tracking_id", "a tracking_name, but no tracking_id"),
        ("tracking_score", "no tracking_scor"),
    ],
)
def test_a_tracked_box_has_an_id_and_a_score(tmp_path: Path, lacking: str, message: str) -> None:
    without = {name: value for name, value in BOX.items() if name != lacking}
    path = write(tmp_path / "r.json", {"results": {"a": [BOX, without]}})
    with pytest.raises(UserError, match=f"box 1 of sample 'a': {message}"):
        list(read_results(path))


def test_a_detection_has_a_score(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", {"results": {"a": [{**PLACE, "detection_name": "car"}]}})
    with pytest.raises(UserError, match="box 0 of sample 'a': no detection_score"):
        list(read_results(path))


def test_unknown_velocities_are_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", {"results": {"a": [{**BOX, "velocity": [NAN, NAN]}]}})
    assert len(dict(read_results(path))["a"]) == 1
