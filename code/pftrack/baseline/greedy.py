"""Links boxes to the nearest track by their velocities, best box first, as CenterPoint does.

Yin, Zhou, Krähenbühl, "Center-based 3D Object Detection and Tracking", CVPR 2021, section 4.4.
"""

from __future__ import annotations

import numpy as np

from pftrack.baseline.tracks import NumberedTracks
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


class GreedyTracker(NumberedTracks):
    """Tracks of one class in one scene."""

    def __init__(self, name: str):
        super().__init__(center=np.zeros((0, 2)), velocity=np.zeros((0, 2)))
        self._reach = REACH[name]

    def step(self, boxes: Boxes, time: float) -> tuple[Boxes, np.ndarray]:
        """Number the boxes of the next frame.

        Args:
            boxes: of the class.  time: s.

        Returns:
            the boxes and [n] their tracks' numbers.
        """
        elapsed = self.enter(time)
        velocity = np.nan_to_num(boxes.velocity)
        before = boxes.center[:, :2] - velocity * elapsed
        apart = np.linalg.norm(before[:, None] - self.rows["center"][None], axis=-1)
        numbers = np.full(len(boxes), -1)
        for i in np.argsort(-boxes.scores, kind="stable").tolist():
            if apart.shape[1] and apart[i].min() < self._reach:
                track = int(apart[i].argmin())
                numbers[i] = self.rows["ids"][track]
                apart[:, track] = np.inf
        numbers = self.numbered(numbers)
        # What has no box now drives on as it did.
        self.rows["center"] = self.rows["center"] + self.rows["velocity"] * elapsed
        self.leave(numbers, center=boxes.center[:, :2], velocity=velocity)
        return boxes, numbers
