"""Links boxes to the nearest track by their velocities, best box first, as CenterPoint does.

Yin, Zhou, Krähenbühl, "Center-based 3D Object Detection and Tracking", CVPR 2021, section 4.4.
"""

from __future__ import annotations

import numpy as np

from pftrack.boxes import Boxes

# How far a box moved back by its velocity may be from its track, m: the published reach of each
# class at 2 Hz.
REACH = {
    "car": 4.0,
    "truck": 4.0,
    "bus": 5.5,
    "trailer": 3.0,
    "pedestrian": 1.0,
    "motorcycle": 13.0,
    "bicycle": 3.0,
}
LOST_SECONDS = 1.6  # a track without a box for longer ends: three key frames, and their jitter


class GreedyTracker:
    """Tracks of one class in one scene."""

    def __init__(self, name: str):
        self._reach = REACH[name]
        self._count = 0
        self._ids = np.zeros(0, int)
        self._center = np.zeros((0, 2))
        self._velocity = np.zeros((0, 2))
        self._seen = np.zeros(0)
        self._time = 0.0

    def step(self, boxes: Boxes, time: float) -> tuple[Boxes, np.ndarray]:
        """Number the boxes of the next frame.

        Args:
            boxes: of the class.  time: s.

        Returns:
            the boxes and [n] their tracks' numbers.
        """
        elapsed, self._time = time - self._time, time
        alive = time - self._seen <= LOST_SECONDS
        self._keep(alive)
        velocity = np.nan_to_num(boxes.velocity)
        before = boxes.center[:, :2] - velocity * elapsed
        apart = np.linalg.norm(before[:, None] - self._center[None], axis=-1)
        numbers = np.full(len(boxes), -1)
        for i in np.argsort(-boxes.scores, kind="stable").tolist():
            if apart.shape[1] and apart[i].min() < self._reach:
                track = int(apart[i].argmin())
                numbers[i] = self._ids[track]
                apart[:, track] = np.inf
        new = numbers < 0
        numbers[new] = self._count + np.arange(new.sum())
        self._count += int(new.sum())

        # What has no box now drives on as it did.
        self._keep(~np.isin(self._ids, numbers))
        self._center = np.concatenate(
            [self._center + self._velocity * elapsed, boxes.center[:, :2]]
        )
        self._velocity = np.concatenate([self._velocity, velocity])
        self._ids = np.concatenate([self._ids, numbers])
        self._seen = np.concatenate([self._seen, np.full(len(boxes), time)])
        return boxes, numbers

    def _keep(self, rows: np.ndarray) -> None:
        self._ids, self._seen = self._ids[rows], self._seen[rows]
        self._center, self._velocity = self._center[rows], self._velocity[rows]
