"""Colours of tracks, and where they stood before."""

from __future__ import annotations

import colorsys
import zlib
from functools import lru_cache

import numpy as np

from pftrack.boxes import Boxes

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
