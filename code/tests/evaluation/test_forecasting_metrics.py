"""Forecasting metrics on a scene small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pftrack.evaluation.config import load_tracking_config
from pftrack.evaluation.forecasting_metrics import (
    annotated_futures,
    evaluate_forecasts,
)
from pftrack.evaluation.ground_truth import GroundTruth
from pftrack.evaluation.run import Evaluation
from pftrack.evaluation.tables import BoxTable, FrameTable
from pftrack.evaluation.tracking_metrics import evaluate_tracking
from pftrack.evaluation.tracks import BikeRacks

CONFIG = load_tracking_config()
CAR = CONFIG.class_names.index("car")
FRAMES = 9


def boxes(frame, track, xy, score=-1.0, velocity=(0.0, 0.0), forecast=None) -> BoxTable:
    count = len(frame)
    return BoxTable(
        frame=np.array(frame),
        track=np.array(track),
        label=np.full(count, CAR),
        center=np.c_[np.array(xy, float), np.zeros(count)],
        shape=np.ones((count, 4)),
        score=np.full(count, score),
        box_score=np.full(count, score),
        velocity=np.tile(np.array(velocity, float), (count, 1)),
        num_pts=np.ones(count, int),
        visibility=np.zeros(count, int),
        interpolated=np.zeros(count, bool),
        forecast=forecast,
        track_names=["a", "b"],
    )


def evaluation(gt: BoxTable, pred: BoxTable) -> Evaluation:
    frames = FrameTable(
        sample_tokens=[str(i) for i in range(FRAMES)],
        scene=np.zeros(FRAMES, int),
        timestamp=np.arange(FRAMES) * 500_000,
        ego=np.zeros((FRAMES, 3)),
        ego_yaw=np.zeros(FRAMES),
        scene_names=["s"],
        scene_tokens=["s"],
    )
    racks = BikeRacks(np.zeros(0, int), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 4)))
    tracking = evaluate_tracking(gt, pred, frames, CONFIG)
    return Evaluation(GroundTruth(frames, gt, racks), frames, gt, pred, tracking, {}, 0.0)


@pytest.fixture
def one_car() -> Evaluation:
    """A car at 2 m/s along x for nine frames, tracked 0.5 m to its side; one ghost in frame 0."""
    x = np.arange(FRAMES) * 1.0
    gt = boxes(range(FRAMES), [0] * FRAMES, np.c_[x, 0 * x])
    frame = [0, *range(FRAMES)]
    forecast = np.tile(np.array([1.0, 0.0]), (FRAMES + 1, 8, 1))
    xy = np.c_[np.r_[x[0], x], np.r_[40.0, 0.5 + 0 * x]]
    pred = boxes(frame, [1] + [0] * FRAMES, xy, 0.9, (1.0, 0.0), forecast)
    return evaluation(gt, pred)


def test_by_hand(one_car: Evaluation) -> None:
    table = evaluate_forecasts(one_car)["car"]
    model = table["model"]
    assert model["1s"]["count"] == 7 and model["4s"]["count"] == 1
    assert model["4s"]["minADE"] == pytest.approx(0.5)
    assert model["4s"]["minFDE"] == pytest.approx(0.5)
    assert model["4s"]["MR"] == 0
    # One of one hit, and a ghost in the only frame that has 4 s to go.
    assert model["4s"]["EPA"] == pytest.approx(1 - 0.5)
    assert model["1s"]["EPA"] == pytest.approx((7 - 0.5) / 7)

    # The tracker's velocity is half the true one: after s seconds it is s metres behind.
    velocity = table["constant_velocity"]
    assert velocity["4s"]["minFDE"] == pytest.approx(np.hypot(4, 0.5))
    assert velocity["4s"]["MR"] == 1 and velocity["4s"]["EPA"] == pytest.approx(-0.5)
    still = table["stand_still"]["2s"]
    assert still["minADE"] == pytest.approx(np.mean(np.hypot([1, 2, 3, 4], 0.5)))
    assert still["minFDE"] == pytest.approx(np.hypot(4, 0.5))


def test_average_is_over_classes_with_a_value(one_car: Evaluation) -> None:
    table = evaluate_forecasts(one_car)
    assert table["all"]["model"]["4s"]["minADE"] == table["car"]["model"]["4s"]["minADE"]
    assert np.isnan(table["bus"]["stand_still"]["1s"]["minADE"])


def test_without_forecasts_only_baselines(one_car: Evaluation) -> None:
    bare = evaluation(one_car.gt, one_car.pred.replace(forecast=None))
    assert set(evaluate_forecasts(bare)["car"]) == {"constant_velocity", "stand_still"}


def test_gap_in_the_annotation_ends_the_horizon() -> None:
    gt = boxes([0, 1, 3], [0, 0, 0], [[0, 0], [1, 0], [3, 0]])
    futures = annotated_futures(gt, FRAMES, 3)
    assert futures.known.tolist() == [[True, False, True], [False, True, False], [False] * 3]
    assert futures.position[0, 2].tolist() == [3, 0]


def test_futures_do_not_cross_scenes() -> None:
    """Another track's boxes in the next frames are not this track's future."""
    gt = boxes([0, 1, 2], [0, 1, 1], [[0, 0], [1, 0], [2, 0]])
    assert not annotated_futures(gt, FRAMES, 2).known[0].any()
