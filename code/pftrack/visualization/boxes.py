"""What is drawn: boxes in the global frame, with their past and future."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pftrack import geometry
from pftrack.structures import Track

Color = tuple[int, int, int]  # BGR


@lru_cache(maxsize=4096)
def track_color(track_id: str) -> Color:
    """A bright colour that depends on the id alone, so that it stays through frames and videos."""
    number = zlib.crc32(track_id.encode())
    hue = number % 360 / 360
    saturation = 0.55 + 0.45 * (number // 360 % 4) / 3
    r, g, b = colorsys.hsv_to_rgb(hue, saturation, 1.0)
    luminance = 0.299 * r + 0.587 * g + 0.114 * b
    white = max(0.0, (0.5 - luminance) / (1 - luminance))  # blue is hard to see on dark ground
    r, g, b = (c + white * (1 - c) for c in (r, g, b))
    return round(255 * b), round(255 * g), round(255 * r)


@dataclass
class Boxes:
    """The boxes of one frame, global frame.

    Attributes:
        ids: n track ids.  names: n class names.  scores: [n].
        center: [n, 3] m.  size: [n, 3] width, length, height in m.
        rotation: [n, 4] unit quaternions (w, x, y, z).
        forecast: n arrays [F, 2] of displacements per step, m; None where there is none.
        velocity: [n, 2] m/s, when known.
    """

    ids: list[str]
    names: list[str]
    scores: np.ndarray
    center: np.ndarray
    size: np.ndarray
    rotation: np.ndarray
    forecast: list[np.ndarray | None]
    velocity: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def from_tracks(cls, tracks: Sequence[Track]) -> Boxes:
        """What ``Tracker.step`` returned."""
        return cls(
            ids=[t.id for t in tracks],
            names=[t.name for t in tracks],
            scores=np.array([t.score for t in tracks], dtype=np.float64),
            center=np.array([t.center for t in tracks], dtype=np.float64).reshape(-1, 3),
            size=np.array([t.size for t in tracks], dtype=np.float64).reshape(-1, 3),
            rotation=np.array([t.rotation for t in tracks], dtype=np.float64).reshape(-1, 4),
            forecast=[t.forecast for t in tracks],
            velocity=np.array([t.velocity for t in tracks], dtype=np.float64).reshape(-1, 2),
        )

    @classmethod
    def from_results(cls, boxes: Sequence[Mapping[str, Any]]) -> Boxes:
        """One sample of a results file (nuScenes tracking or detection submission).

        Raises:
            KeyError, ValueError, TypeError: a box lacks a field or a number.
        """
        forecast = [
            np.asarray(b["forecasting"], float) if "forecasting" in b else None for b in boxes
        ]
        return cls(
            ids=[str(b.get("tracking_id", i)) for i, b in enumerate(boxes)],
            names=[str(b.get("tracking_name", b.get("detection_name"))) for b in boxes],
            scores=np.array(
                [float(b.get("tracking_score", b.get("detection_score", 1))) for b in boxes]
            ),
            center=np.array([b["translation"] for b in boxes], float).reshape(-1, 3),
            size=np.array([b["size"] for b in boxes], float).reshape(-1, 3),
            rotation=np.array([b["rotation"] for b in boxes], float).reshape(-1, 4),
            forecast=forecast,
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
            forecast=[self.forecast[i] for i in index],
            velocity=None if self.velocity is None else self.velocity[index],
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


class History:
    """Remembers where every track stood in the last frames.

    Args:
        length: number of frames.
    """

    def __init__(self, length: int = 8) -> None:
        self.length = length
        self._points: dict[str, list[np.ndarray]] = {}
        self._age: dict[str, int] = {}

    def update(self, boxes: Boxes) -> None:
        """Add a frame."""
        for track_id in list(self._age):
            self._age[track_id] += 1
            if self._age[track_id] > self.length:
                del self._age[track_id], self._points[track_id]
        for track_id, point in zip(boxes.ids, boxes.ground(), strict=True):
            self._points.setdefault(track_id, []).append(point)
            self._points[track_id] = self._points[track_id][-self.length :]
            self._age[track_id] = 0

    def path(self, track_id: str) -> np.ndarray:
        """[k, 3] positions on the ground, oldest first, global."""
        return np.array(self._points.get(track_id, [])).reshape(-1, 3)
