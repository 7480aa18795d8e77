"""The fast engine against the official devkit, and against numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from laboratory.random_scenes import (
    CATEGORIES,
    RandomScenesConfig,
    write_random_scenes,
)
from pftrack.evaluation.config import load_tracking_config
from pftrack.evaluation.devkit import differences, evaluate_tracking_devkit
from pftrack.evaluation.ground_truth import load_ground_truth
from pftrack.evaluation.run import evaluate_results
from pftrack.evaluation.tables import BoxTable, FrameTable
from pftrack.evaluation.tracking_metrics import evaluate_class, recall_thresholds
from pftrack.evaluation.tracks import interpolate_tracks, mean_track_scores

CONFIG = load_tracking_config()
SCENES = ("scene-0103", "scene-0916")


def compare_with_devkit(root: Path, scenes: RandomScenesConfig, seed: int) -> None:
    result = write_random_scenes(root, "v1.0-mini", scenes, seed)
    truth = load_ground_truth(root, "v1.0-mini", "val", CONFIG.class_names)
    ours = evaluate_results(result, truth, CONFIG).tracking
    summary, details = evaluate_tracking_devkit(
        result, root, "v1.0-mini", "mini_val", root / "devkit", CONFIG
    )
    found = [*differences(ours.summary(), summary), *differences(ours.details(), details)]
    assert len(found) > 4000
    worst, where = max(found)
    assert worst <= 1e-9, where


@pytest.mark.parametrize(
    "seed", [*range(6), *(pytest.param(n, marks=pytest.mark.slow) for n in range(6, 30))]
)
def test_equals_devkit(tmp_path: Path, seed: int) -> None:
    """Small scenes with gaps, switches, wrong classes, ghosts, racks; ties in every third case."""
    scenes = RandomScenesConfig(
        scene_names=SCENES[: 1 + seed % 2],
        frames=7,
        objects=4,
        ghosts=3,
        classes=tuple(CATEGORIES)[seed % 3 :: 2],
        ties=seed % 3 == 0,
        origin=(0.0, 300.0, 1000.0)[seed % 3],
    )
    compare_with_devkit(tmp_path, scenes, seed)


def test_equals_devkit_when_nothing_is_found(tmp_path: Path) -> None:
    """No true positive in any class: the worst value of every metric."""
    scenes = RandomScenesConfig(SCENES[:1], frames=4, objects=2, ghosts=0)
    root = tmp_path
    result = write_random_scenes(root, "v1.0-mini", scenes, 5)
    content = result.read_text().replace('"translation": [', '"translation": [9')
    result.write_text(content)  # every box far away, out of the class range
    truth = load_ground_truth(root, "v1.0-mini", "val", CONFIG.class_names)
    evaluation = evaluate_results(result, truth, CONFIG)
    assert len(evaluation.pred) == 0 and len(evaluation.gt) > 0
    summary, details = evaluate_tracking_devkit(
        result, root, "v1.0-mini", "mini_val", root / "devkit", CONFIG
    )
    ours = evaluation.tracking
    found = [*differences(ours.summary(), summary), *differences(ours.details(), details)]
    assert max(found)[0] == 0
    assert ours.overall["amota"] == 0 and ours.overall["amotp"] == 2


def table(rows: list[tuple[int, int, float, float]]) -> BoxTable:
    """Boxes of one class from (frame, track, x, score)."""
    frame, track, x, score = (np.array(c) for c in zip(*rows, strict=True))
    count = len(rows)
    return BoxTable(
        frame=frame,
        track=track,
        label=np.zeros(count, int),
        center=np.stack([x, np.zeros(count), np.zeros(count)], axis=1),
        shape=np.ones((count, 4)),
        score=score,
        box_score=score,
        velocity=np.zeros((count, 2)),
        num_pts=np.ones(count, int),
        visibility=np.zeros(count, int),
        interpolated=np.zeros(count, bool),
        forecast=None,
        track_names=[],
    )


def frame_table(count: int) -> FrameTable:
    return FrameTable(
        sample_tokens=[str(i) for i in range(count)],
        scene=np.zeros(count, int),
        timestamp=np.arange(count) * 500_000,
        ego=np.zeros((count, 3)),
        ego_yaw=np.zeros(count),
        scene_names=["scene"],
        scene_tokens=["scene"],
    )


def test_numbers_by_hand() -> None:
    """One object over ten frames; the tracker misses frames 0, 4, 5 and changes its id at 8."""
    gt = table([(f, 0, 10.0 * f, -1.0) for f in range(10)])
    seen = [f for f in range(10) if f not in (0, 4, 5)]
    pred = table([(f, 0 if f < 8 else 1, 10.0 * f + 0.5, 0.9) for f in seen] + [(9, 2, 0.0, 0.9)])
    pred = pred.select(np.argsort(pred.frame, kind="stable"))
    result = evaluate_class(gt, pred, frame_table(10), CONFIG)
    expected = {
        "gt": 10,
        "tp": 6,
        "ids": 1,
        "fp": 1,
        "fn": 3,
        "recall": 0.7,
        "mota": 1 - 5 / 10,
        "motar": 1 - (3 + 1 + 1 - 0.4 * 10) / (0.6 * 10),
        "motp": 0.5,
        "mt": 0,
        "ml": 0,
        "faf": 10,
        "frag": 1,
        "tid": 0.5,
        "lgd": 1.0,
    }
    for metric, value in expected.items():
        assert result.values[metric] == pytest.approx(value, abs=1e-9), metric
    # Six of ten found at most: recalls above 0.6 count as MOTAR 0.
    achieved = (np.linspace(0.1, 1, 40).round(12) <= 0.6).sum()
    assert result.values["amota"] == pytest.approx(achieved / 40 * expected["motar"])


def test_earlier_pair_is_kept_although_another_is_closer() -> None:
    gt = table([(0, 0, 0.0, -1), (1, 0, 0.0, -1)])
    pred = table([(0, 0, 0.0, 0.5), (1, 0, 1.5, 0.5), (1, 1, 0.0, 0.5)])
    result = evaluate_class(gt, pred, frame_table(2), CONFIG)
    assert (result.values["ids"], result.values["tp"], result.values["fp"]) == (0, 2, 1)
    assert result.values["motp"] == pytest.approx(0.75)


def test_pair_at_the_limit_is_excluded() -> None:
    gt = table([(0, 0, 0.0, -1)])
    for x, found in ((2.0, 0), (np.nextafter(2.0, 0), 1)):
        result = evaluate_class(gt, table([(0, 0, x, 0.5)]), frame_table(1), CONFIG)
        assert result.values["tp"] == found


def test_class_without_ground_truth_has_no_value() -> None:
    gt = table([(0, 0, 0.0, -1)]).select(np.zeros(0, int))
    result = evaluate_class(gt, table([(0, 0, 0.0, 0.5)]), frame_table(1), CONFIG)
    assert all(math.isnan(v) for v in result.values.values())


def test_recall_thresholds_interpolate_between_scores() -> None:
    thresholds, recall = recall_thresholds(np.array([0.2, 0.8]), 4, CONFIG)
    assert recall[0] == 1 and recall[-1] == 0.1
    assert np.isnan(thresholds[recall > 0.5]).all()
    assert thresholds[-1] == 0.8  # below the first achieved recall
    middle = np.flatnonzero((recall > 0.25) & (recall <= 0.5))
    expected = 0.8 - (recall[middle] - 0.25) / 0.25 * 0.6
    np.testing.assert_allclose(thresholds[middle], expected)


def test_track_score_is_the_mean_before_interpolation() -> None:
    boxes = table([(0, 0, 0.0, 0.2), (1, 1, 5.0, 0.9), (3, 0, 3.0, 0.6)])
    filled = interpolate_tracks(mean_track_scores(boxes), frame_table(4))
    own = filled.track == 0
    np.testing.assert_allclose(filled.score[own], 0.4)
    assert filled.frame[own].tolist() == [0, 1, 2, 3]
    # The devkit's weights: frame 1 lies two thirds of the way from the LATER box's side.
    np.testing.assert_allclose(filled.center[own, 0], [0.0, 2.0, 1.0, 3.0])
    # New boxes come last in their frame.
    assert filled.track[filled.frame == 1].tolist() == [1, 0]


def test_recall_below_the_lowest_threshold_counts_as_nothing_found() -> None:
    """One of twenty found: 0.05 < 0.1, so no recall is achieved although there is a match."""
    gt = table([(f, 0, 10.0 * f, -1.0) for f in range(20)])
    result = evaluate_class(gt, table([(0, 0, 0.0, 0.9)]), frame_table(20), CONFIG)
    assert (result.values["amota"], result.values["amotp"]) == (0.0, 2.0)
    assert (result.values["fn"], result.values["ml"], result.values["tp"]) == (20, 1, 0)
    assert math.isnan(result.values["fp"]) and np.isnan(result.curves["confidence"]).all()
    assert not np.isnan(result.curves["recall_hypo"]).any()
