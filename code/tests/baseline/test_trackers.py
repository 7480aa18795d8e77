"""Linking by rules: crossing and lost objects, doubles, generalised IoU by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pftrack.baseline.greedy import GreedyTracker
from pftrack.baseline.kalman import KalmanTracker
from pftrack.baseline.overlap import generalized_iou, suppress
from pftrack.boxes import Boxes


def boxes(center, velocity=None, size=(2.0, 4.0, 1.5), yaw=0.0, scores=None) -> Boxes:
    """Cars at ``center`` [n, 2 or 3]."""
    center = np.atleast_2d(np.asarray(center, float))
    n = len(center)
    if center.shape[1] == 2:
        center = np.c_[center, np.zeros(n)]
    yaws = np.broadcast_to(np.asarray(yaw, float), n)
    return Boxes(
        ids=[""] * n,
        names=["car"] * n,
        scores=np.full(n, 0.5) if scores is None else np.asarray(scores, float),
        center=center,
        size=np.tile(size, (n, 1)),
        rotation=np.stack([np.cos(yaws / 2), 0 * yaws, 0 * yaws, np.sin(yaws / 2)], -1),
        velocity=np.full((n, 2), np.nan) if velocity is None else np.asarray(velocity, float),
    )


NONE = boxes(np.zeros((0, 2)))


@pytest.mark.parametrize("tracker", [GreedyTracker, KalmanTracker])
def test_crossing_objects_keep_their_numbers(tracker) -> None:
    """Two cars 5 m apart in y meet in x and part again; their order in the file changes."""
    track = tracker("car")
    numbers = []
    for step in range(6):
        x = 2.0 * step
        found = boxes([(x, 0), (10 - x, 5)], [(4, 0), (-4, 0)])
        order = [0, 1] if step % 2 else [1, 0]
        kept, ids = track.step(found.select(np.array(order)), 100 + 0.5 * step)
        assert len(kept) == 2
        numbers.append(ids[np.argsort(kept.center[:, 1])].tolist())
    assert numbers == [numbers[0]] * 6


@pytest.mark.parametrize("tracker", [GreedyTracker, KalmanTracker])
def test_a_lost_object_comes_back_for_a_while(tracker) -> None:
    """Unseen for 1.5 s it is the same, at the place it has driven to; after 2 s it is another."""
    for missing, same in ((2, True), (3, False)):
        track = tracker("car")
        first = [track.step(boxes([(5.0 * k, 0)], [(10, 0)]), 0.5 * k)[1][0] for k in range(3)]
        for k in range(3, 3 + missing):
            assert len(track.step(NONE, 0.5 * k)[1]) == 0
        k = 3 + missing
        again = track.step(boxes([(5.0 * k, 0)], [(10, 0)]), 0.5 * k)[1][0]
        assert first == [0, 0, 0] and again == (0 if same else 1)


def test_greedy_takes_the_best_box_first_and_no_further_than_it_reaches() -> None:
    track = GreedyTracker("car")
    track.step(boxes([(0, 0)], [(0, 0)]), 0.0)
    found = boxes([(1, 0), (2, 0), (0, 4.1)], [(0, 0)] * 3, scores=[0.3, 0.9, 0.8])
    assert track.step(found, 0.5)[1].tolist() == [1, 0, 2]


def test_kalman_learns_a_velocity_that_no_box_has() -> None:
    track = KalmanTracker("car")
    for k in range(10):
        found, numbers = track.step(boxes([(1.0 * k, 0)]), 0.5 * k)
        assert numbers.tolist() == [0]
    assert found.velocity[0] == pytest.approx([2, 0], abs=0.05)
    assert found.center[0] == pytest.approx([9, 0, 0], abs=0.05)


def test_generalized_iou_by_hand() -> None:
    one = boxes([(0, 0)])
    # Half a length on: 1/3. A metre beyond the end: no overlap, 24 of 27 m³ filled.
    value = generalized_iou(one, boxes([(0, 0), (2, 0), (5, 0), (100, 0)]))
    assert value[0] == pytest.approx([1, 1 / 3, 24 / 27 - 1, -1])
    # Half a height up: the enclosing body is full.
    assert generalized_iou(one, boxes([(0, 0, 0.75)]))[0, 0] == pytest.approx(1 / 3)
    # A quarter turn: 4 of 12 m², in an octagon of 16 - 4 * 0.5 = 14 m².
    assert generalized_iou(one, boxes([(0, 0)], yaw=np.pi / 2))[0, 0] == pytest.approx(
        4 / 12 - (14 - 12) / 14
    )
    assert generalized_iou(one, NONE).shape == (1, 0)


def test_pairs_that_are_not_computed_are_below_the_least() -> None:
    """Just within the reach, for bodies of all shapes in a row and side by side."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        size = rng.uniform(0.3, 12, 3)
        pair = [boxes([(0, 0)], size=size), boxes([(0, 0)], size=size * rng.uniform(0.5, 2, 3))]
        reach = sum(np.linalg.norm(b.size[0, :2]) / 2 for b in pair)
        angle = rng.uniform(0, 2 * np.pi)
        pair[1].center[0, :2] = 2.999 * reach * np.array([np.cos(angle), np.sin(angle)])
        assert -1 < generalized_iou(*pair)[0, 0] < -0.49


def test_doubles_go_and_their_victims_stay_gone() -> None:
    """B doubles A and C doubles B, but C does not touch A: A and C stay."""
    found = boxes([(0, 0), (2.5, 0), (5, 0)], scores=[0.9, 0.8, 0.7])
    assert suppress(found, 0.1).tolist() == [True, False, True]
    assert suppress(NONE, 0.1).tolist() == []
