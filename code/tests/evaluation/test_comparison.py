"""Comparison of results files: sums over scenes, intervals, scenes and objects that differ."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from laboratory.random_scenes import RandomScenesConfig, write_random_scenes
from pftrack.errors import UserError
from pftrack.evaluation.comparison import compare, comparison_table, object_changes, short_names
from pftrack.evaluation.config import load_tracking_config
from pftrack.evaluation.ground_truth import load_ground_truth
from pftrack.evaluation.run import Evaluation, evaluate_results
from pftrack.evaluation.scene_counts import (
    INTERVAL_METRICS,
    interval,
    scene_counts,
    weighted_metrics,
)

VERSION = "v1.0-mini"
CONFIG = load_tracking_config()


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> list[Evaluation]:
    """Of random results, and of the same without the cars of one scene."""
    root = tmp_path_factory.mktemp("scenes")
    scenes = RandomScenesConfig(("scene-0103", "scene-0916"), frames=12, objects=15)
    result = write_random_scenes(root, VERSION, scenes, 4)
    truth = load_ground_truth(root, VERSION, "val", CONFIG.class_names)
    first = evaluate_results(result, truth, CONFIG)
    emptied = set(truth.select(truth.frames.scene == 0).frames.sample_tokens)
    content = json.loads(result.read_text())
    for token in emptied:
        boxes = content["results"][token]
        boxes[:] = [box for box in boxes if box["tracking_name"] != "car"]
    worse = root / "worse.json"
    worse.write_text(json.dumps(content))
    return [first, evaluate_results(worse, truth, CONFIG)]


def test_every_scene_once_gives_the_metrics(evaluations: list[Evaluation]) -> None:
    for evaluation in evaluations:
        counts = scene_counts(evaluation)
        once = np.ones((1, len(evaluation.frames.scene_names)))
        values = weighted_metrics(counts, once, CONFIG.metric_worst)
        for name in INTERVAL_METRICS:
            assert values[name][0] == pytest.approx(evaluation.tracking.overall[name], abs=1e-9)


def test_a_scene_twice_is_a_scene_alone(evaluations: list[Evaluation]) -> None:
    """Shares stay and sums double, when one scene alone is drawn; no class without truth counts."""
    counts = scene_counts(evaluations[0])
    one, two = (weighted_metrics(counts, np.array([[n, 0.0]]), CONFIG.metric_worst) for n in (1, 2))
    for name in INTERVAL_METRICS:
        factor = 2 if name in ("fp", "fn", "ids") else 1
        assert two[name][0] == pytest.approx(factor * one[name][0])
    errors = sum(c.errors()[0] for c in counts.values())
    assert errors == sum(one[name][0] for name in ("fp", "fn", "ids"))


def test_lost_objects_are_found(evaluations: list[Evaluation]) -> None:
    scene = evaluations[0].frames.scene_names[0]
    changes = object_changes(evaluations, 1)
    lost = [c for c in changes if c.scene == scene and c.class_name == "car"]
    result = evaluations[0].tracking.classes["car"]
    assert result.outcome is not None
    here = evaluations[0].frames.scene[result.gt.frame] == 0
    assert -sum(c.change for c in lost) == (result.outcome.pred[0][here] >= 0).sum() > 0
    for change in lost:
        assert change.hits == (-change.change, 0)
        assert change.tracks[0] in result.pred.track_names and change.tracks[1] == ""
    assert changes[0] == min(changes, key=lambda c: c.change)
    content = compare(evaluations, ["a", "b"], draws=50)
    row = content["by_scene"][0]
    assert row["scene"] == scene and row["change"][0] == 0 and row["change"][1] < 0
    metrics = {row["metric"]: row["values"] for row in content["metrics"]}
    for name in ("fp", "fn", "ids"):
        for i, value in enumerate(metrics[name]):
            assert sum(row[name][i] for row in content["by_scene"]) == value
    recall = {row["metric"]: row for row in content["intervals"]}["recall"]["files"][1]
    assert recall["difference_low"] <= recall["difference"] < 0
    assert recall["low"] <= recall["value"] <= recall["high"]


def test_equal_files_differ_nowhere(evaluations: list[Evaluation]) -> None:
    content = compare([evaluations[0]] * 2, ["a", "b"], draws=20)
    for row in content["intervals"]:
        cell = row["files"][1]
        assert cell["difference"] == cell["difference_low"] == cell["difference_high"] == 0
    assert content["objects"] == [{"name": "b", "changes": []}]
    table = comparison_table(content)
    assert "+0.000 [+0.000, +0.000]" in table and "20 draws of the 2 scenes" in table
    assert repr(compare([evaluations[0]] * 2, ["a", "b"], draws=20)) == repr(content)


def test_other_scenes_are_refused(evaluations: list[Evaluation], tmp_path: Path) -> None:
    part = evaluations[0].truth.select(evaluations[0].frames.scene == 0)
    empty = {"meta": {}, "results": {token: [] for token in part.frames.sample_tokens}}
    path = tmp_path / "part.json"
    path.write_text(json.dumps(empty))
    other = evaluate_results(path, part, CONFIG)
    with pytest.raises(UserError, match="'a' and 'b' are not of the same scenes"):
        compare([evaluations[0], other], ["a", "b"])
    alone = compare([other, other], ["a", "b"])  # nothing found, and one scene
    assert alone["intervals"] == [] and "one scene only" in comparison_table(alone)


def test_names_are_as_short_as_they_can_be() -> None:
    paths = [Path("/x/a/results.json"), Path("/x/b/results.json")]
    assert short_names(paths) == ["a/results.json", "b/results.json"]
    assert short_names([Path("/x/a.json"), Path("/x/b.json")]) == ["a.json", "b.json"]
    with pytest.raises(UserError, match="the same results file twice"):
        short_names(paths[:1] * 2)


def test_interval_leaves_out_what_is_undefined() -> None:
    low, high = interval(np.r_[np.arange(101.0), np.nan])
    assert (low, high) == pytest.approx((2.5, 97.5))
    assert math.isnan(interval(np.array([np.nan]))[0])
