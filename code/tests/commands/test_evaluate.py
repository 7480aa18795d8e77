"""Bad results files are refused with one clear line; the command line prints and writes metrics."""

from __future__ import annotations

import json
import math
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from laboratory.random_scenes import (
    RandomScenesConfig,
    write_random_scenes,
)
from pftrack.errors import UserError
from pftrack.evaluation.config import load_tracking_config
from pftrack.evaluation.ground_truth import GroundTruth, load_ground_truth
from pftrack.evaluation.submission import load_results
from pftrack.nuscenes.json_stream import JsonReader
from pftrack.nuscenes.table_files import iter_rows
from pftrack.paths import CODE

CONFIG = load_tracking_config()
TOOL = CODE / "tools" / "evaluate.py"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_random_scenes(folder, "v1.0-mini", RandomScenesConfig(("scene-0103",), frames=5), 1)
    return folder


@pytest.fixture(scope="module")
def truth(root: Path) -> GroundTruth:
    return load_ground_truth(root, "v1.0-mini", "mini_val", CONFIG.class_names)


def first_box(content: dict) -> dict:
    return next(boxes[0] for boxes in content["results"].values() if boxes)


def first_sample(content: dict) -> list:
    return next(boxes for boxes in content["results"].values() if boxes)


def set_field(name: str, value: object) -> Callable[[dict], None]:
    return lambda content: first_box(content).__setitem__(name, value)


FAULTS: dict[str, tuple[Callable[[dict], object], str]] = {
    "unknown token": (lambda c: c["results"].update(abc=[]), "'abc' is not in the evaluated"),
    "missing sample": (lambda c: c["results"].popitem(), "1 of 5 samples of the split are missing"),
    "nan": (set_field("translation", [math.nan, 0.0, 0.0]), "translation must be 3 finite"),
    "infinite": (set_field("size", [math.inf, 1.0, 1.0]), "size must be 3 finite"),
    "short": (set_field("rotation", [1.0, 0.0]), "rotation must be 4 finite"),
    "score": (set_field("tracking_score", "high"), "tracking_score must be a finite number"),
    "class": (set_field("tracking_name", "barrier"), "unknown tracking_name 'barrier'"),
    "other sample": (set_field("sample_token", "x"), "names another sample_token"),
    "id": (lambda c: first_sample(c).append(dict(first_box(c))), "two boxes with tracking_id"),
    "crowd": (
        lambda c: first_sample(c).extend([first_box(c)] * 500),
        "at most 500 are allowed",
    ),
    "no results": (lambda c: c.pop("results"), "no 'results'"),
    "no meta": (lambda c: c.pop("meta"), "no 'meta'"),
    "no list": (lambda c: c.update(results=[]), "must map sample tokens"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_file_is_refused(root: Path, truth: GroundTruth, tmp_path: Path, fault: str) -> None:
    content = json.loads((root / "results.json").read_text())
    change, message = FAULTS[fault]
    change(content)
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as error:
        load_results(bad, truth.frames, CONFIG)
    assert str(bad) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file_is_refused(
    root: Path, truth: GroundTruth, tmp_path: Path, keep: float
) -> None:
    text = (root / "results.json").read_text()
    bad = tmp_path / "cut.json"
    bad.write_text(text[: int(len(text) * keep)])
    with pytest.raises(UserError, match="ends too early"):
        load_results(bad, truth.frames, CONFIG)


def test_syntax_error_names_the_place(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"results": {"a": [1, 2,, 3]' + " " * 100 + "}}")
    with JsonReader(bad) as reader, pytest.raises(UserError, match="at character 24"):
        for _ in reader.keys():  # noqa: SIM118
            reader.value()


def test_stream_equals_json_load(root: Path) -> None:
    """Also across the borders of the reader's chunks."""
    table = root / "v1.0-mini" / "sample_annotation.json"
    records = json.loads(table.read_text()) * 200
    big = root / "big.json"
    big.write_text(json.dumps(records, indent=1))
    assert big.stat().st_size > 2 << 20
    assert list(iter_rows(big)) == records


def run_tool(*arguments: object) -> int:
    before = sys.argv
    sys.argv = ["evaluate.py", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(TOOL), run_name="__main__")
    finally:
        sys.argv = before
    assert isinstance(stop.value.code, int)
    return stop.value.code


def test_both_engines_agree_and_write_their_files(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--dataroot", root, "--version", "v1.0-mini", "--engine", "both")
    assert run_tool(root / "results.json", *arguments, "--out", tmp_path) == 0
    assert "largest difference" in capsys.readouterr().out
    ours = json.loads((tmp_path / "metrics_summary.json").read_text())
    official = json.loads((tmp_path / "devkit" / "metrics_summary.json").read_text())
    assert ours.pop("split") == "val" and ours.keys() == official.keys()
    assert (tmp_path / "forecasting.json").exists()


def test_detection_file_goes_to_the_devkit(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((root / "results.json").read_text())
    for boxes in content["results"].values():
        for box in boxes:
            box["detection_name"] = box.pop("tracking_name")
            box["detection_score"] = box.pop("tracking_score")
            box["attribute_name"] = ""
    file = tmp_path / "detections.json"
    file.write_text(json.dumps(content))
    usual = ("--dataroot", root, "--version", "v1.0-mini", "--out", tmp_path)
    assert run_tool(file, *usual) == 0
    assert "NDS" in capsys.readouterr().out
    content["results"].popitem()
    file.write_text(json.dumps(content))
    assert run_tool(file, *usual) == 2
    assert "the devkit rejects it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing.json",), "nothing.json: No such file"),
        (("--version", "v1.0-trainval"), "no nuScenes tables in"),
        (("--split", "test"), "has no split 'test'"),
        (("--config", "nothing.json"), "cannot read metric configuration"),
    ],
)
def test_wrong_arguments_exit_2_with_one_line(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    usual = (root / "results.json", "--dataroot", root, "--version", "v1.0-mini")
    if arguments[0].startswith("--"):
        arguments = (*map(str, usual), *arguments)
    else:
        arguments = (*arguments, *map(str, usual[1:]))
    assert run_tool(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
