"""Boxes of one frame in the global frame: what tracking, results files and drawing share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pftrack import geometry
from pftrack.frames import Track


@dataclass
class Boxes:
    """Columns of n boxes; iterates as :class:`Track`.

    Attributes:
        ids: track ids, "<sequence>-<id>" (of detections: their number).  names: of the classes.
        scores: [n].  center: [n, 3] m.  size: [n, 3] width, length, height in m.
        rotation: [n, 4] unit quaternions (w, x, y, z).
        velocity: [n, 2] m/s; NaN where unknown.
        forecast: n arrays [F, 2], the displacement of each step in m; None where there is none.
    """

    ids: list[str]
    names: list[str]
    scores: np.ndarray
    center: np.ndarray
    size: np.ndarray
    rotation: np.ndarray
    velocity: np.ndarray
    forecast: Sequence[np.ndarray | None] = ()

    def __post_init__(self) -> None:
        if not len(self.forecast):
            self.forecast = [None] * len(self)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Track]:
        yaw = geometry.yaw_from_quaternion(self.rotation)
        for i in range(len(self)):
            yield Track(
                id=self.ids[i],
                name=self.names[i],
                score=float(self.scores[i]),
                center=self.center[i],
                size=self.size[i],
                yaw=float(yaw[i]),
                rotation=self.rotation[i],
                velocity=self.velocity[i],
                forecast=self.forecast[i],
            )

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Boxes:
        """One sample of a results file (nuScenes tracking or detection submission).

        Raises:
            KeyError, ValueError, TypeError: a box lacks a field or a number.
        """

        def column(name: str, width: int, missing: Any = None) -> np.ndarray:
            values = [row.get(name, missing) if missing else row[name] for row in rows]
            return np.array(values, float).reshape(-1, width)

        return cls(
            ids=[str(row.get("tracking_id", i)) for i, row in enumerate(rows)],
            names=[str(row.get("tracking_name", row.get("detection_name"))) for row in rows],
            scores=np.array(
                [float(row.get("tracking_score", row.get("detection_score", 1))) for row in rows]
            ),
            center=column("translation", 3),
            size=column("size", 3),
            rotation=column("rotation", 4),
            velocity=column("velocity", 2, missing=(np.nan, np.nan)),
            forecast=[
                np.asarray(row["forecasting"], float) if "forecasting" in row else None
                for row in rows
            ],
        )

    def select(self, keep: np.ndarray) -> Boxes:
        """The boxes at the indices (or the mask) ``keep``."""
        index = np.arange(len(self))[keep]
        return Boxes(
            ids=[self.ids[i] for i in index],
            names=[self.names[i] for i in index],
            scores=self.scores[index],
            center=self.center[index],
            size=self.size[index],
            rotation=self.rotation[index],
            velocity=self.velocity[index],
            forecast=[self.forecast[i] for i in index],
        )

    def corners(self, global2frame: np.ndarray) -> np.ndarray:
        """[n, 8, 3] corners in another frame (order of :func:`geometry.box_corners`)."""
        local = np.zeros((len(self), 7))
        local[:, 3:6] = self.size
        local[:, 6] = geometry.yaw_to_rot(np.zeros(len(self)))
        poses = global2frame @ geometry.pose_matrix(self.rotation, self.center)
        return geometry.transform_points(geometry.box_corners(local), poses)

    def ground(self) -> np.ndarray:
        """[n, 3] centres of the boxes' lower faces, global."""
        return self.center - self.size * np.array([0, 0, 0.5])

    def forecast_path(self, i: int) -> np.ndarray:
        """[F + 1, 3] where box ``i`` stands and will stand, on the ground; [0, 3] without one."""
        steps = self.forecast[i]
        if steps is None or not len(steps):
            return np.zeros((0, 3))
        path = np.tile(self.ground()[i], (len(steps) + 1, 1))
        path[1:, :2] += np.cumsum(steps, axis=0)
        return path
