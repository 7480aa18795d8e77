"""A Kalman filter per track and an assignment by generalised IoU, in the manner of SimpleTrack.

Weng et al., "3D Multi-Object Tracking: A Baseline and New Evaluation Metrics" (AB3DMOT), IROS 2020;
Pang, Li, Wang, "SimpleTrack", ECCV workshops 2022. Of the latter: suppression of doubled boxes,
generalised IoU, the detector's velocity as a measurement; not its second association.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from pftrack.baseline.overlap import generalized_iou, suppress
from pftrack.baseline.tracks import NumberedTracks
from pftrack.boxes import Boxes

OVERLAP = 0.1  # of two boxes from above, by which the worse one is a double
LEAST = -0.5  # generalised IoU of a pair
ACCELERATION = 3.0  # m/s², what a track may do between frames (standard deviation)
CENTER_NOISE, SPEED_NOISE = 0.5, 1.0  # of a box: m, m/s
SPEED_UNKNOWN = 10.0  # m/s, of a new track whose box has no velocity


class KalmanTracker(NumberedTracks):
    """Tracks of one class in one scene: positions and velocities in the ground plane are filtered.

    Height, size and heading are those of the track's last box.
    """

    def __init__(self, name: str):
        # x, y, vx, vy
        super().__init__(state=np.zeros((0, 4)), covariance=np.zeros((0, 4, 4)))
        self._boxes: Boxes | None = None

    def step(self, boxes: Boxes, time: float) -> tuple[Boxes, np.ndarray]:
        """Number the boxes of the next frame.

        Args:
            boxes: of the class.  time: s.

        Returns:
            the boxes that are no doubles, at their filtered places, and their tracks' numbers.
        """
        boxes = boxes.select(suppress(boxes, OVERLAP))
        self._predict(self.enter(time))
        rows, tracks = self._pairs(boxes)
        state, covariance = _new_states(boxes)
        state[rows], covariance[rows] = _update(
            self.rows["state"][tracks], self.rows["covariance"][tracks], boxes.select(rows)
        )
        numbers = np.full(len(boxes), -1)
        numbers[rows] = self.rows["ids"][tracks]
        numbers = self.numbered(numbers)
        center = np.concatenate([state[:, :2], boxes.center[:, 2:]], axis=1)
        found = replace(boxes, center=center, velocity=state[:, 2:])
        self.leave(numbers, state=state, covariance=covariance)
        self._boxes = found if self._boxes is None else _joined(self._boxes, found)
        return found, numbers

    def _predict(self, elapsed: float) -> None:
        move = np.eye(4)
        move[:2, 2:] = np.eye(2) * elapsed
        push = np.concatenate([np.eye(2) * elapsed**2 / 2, np.eye(2) * elapsed])
        rows = self.rows
        rows["state"] = rows["state"] @ move.T
        rows["covariance"] = move @ rows["covariance"] @ move.T + ACCELERATION**2 * push @ push.T

    def _pairs(self, boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
        """Rows of boxes and of tracks that belong together."""
        if self._boxes is None or not len(boxes) or not len(self.rows["ids"]):
            return np.zeros(0, int), np.zeros(0, int)
        center = np.concatenate([self.rows["state"][:, :2], self._boxes.center[:, 2:]], axis=1)
        value = generalized_iou(boxes, replace(self._boxes, center=center))
        rows, tracks = linear_sum_assignment(value, maximize=True)
        good = value[rows, tracks] > LEAST
        return rows[good], tracks[good]

    def keep(self, chosen: np.ndarray) -> None:
        super().keep(chosen)
        if self._boxes is not None:
            self._boxes = self._boxes.select(chosen)


def _new_states(boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
    """[n, 4] and [n, 4, 4] of tracks that begin with these boxes."""
    known = np.isfinite(boxes.velocity).all(axis=1)
    state = np.concatenate([boxes.center[:, :2], np.nan_to_num(boxes.velocity)], axis=1)
    speed = np.where(known, SPEED_NOISE, SPEED_UNKNOWN)
    center = np.full(len(boxes), CENTER_NOISE)
    return state, np.stack([center, center, speed, speed], -1)[:, :, None] ** 2 * np.eye(4)


def _update(
    state: np.ndarray, covariance: np.ndarray, boxes: Boxes
) -> tuple[np.ndarray, np.ndarray]:
    """Correct states by their boxes; an unknown velocity says nothing."""
    known = np.isfinite(boxes.velocity).all(axis=1)
    speed = np.where(known, SPEED_NOISE, 1e6)
    noise = np.stack([np.full(len(boxes), CENTER_NOISE)] * 2 + [speed] * 2, -1)
    measured = np.concatenate([boxes.center[:, :2], np.nan_to_num(boxes.velocity)], axis=1)
    gain = covariance @ np.linalg.inv(covariance + noise[:, :, None] ** 2 * np.eye(4))
    state = state + (gain @ (measured - state)[:, :, None])[:, :, 0]
    return state, (np.eye(4) - gain) @ covariance


def _joined(first: Boxes, second: Boxes) -> Boxes:
    """The rows of both."""

    def both(name: str) -> np.ndarray:
        return np.concatenate([getattr(first, name), getattr(second, name)])

    return Boxes(
        ids=first.ids + second.ids,
        names=first.names + second.names,
        scores=both("scores"),
        center=both("center"),
        size=both("size"),
        rotation=both("rotation"),
        velocity=both("velocity"),
        forecast=[*first.forecast, *second.forecast],
    )
