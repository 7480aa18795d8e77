"""The bird's-eye view: lidar, ego vehicle, tracks with past and future, ground truth."""

from __future__ import annotations

import cv2
import numpy as np

from pftrack import geometry
from pftrack.boxes import Boxes
from pftrack.visualization.camera_view import SHIFT, to_fixed
from pftrack.visualization.trails import Color, History, track_color

BACKGROUND: Color = (26, 22, 20)
GRID: Color = (58, 52, 48)
TEXT: Color = (150, 140, 130)
TRUTH: Color = (235, 235, 235)
EGO: Color = (255, 255, 255)
EGO_SIZE = (1.73, 4.08)  # m, width and length of the recording car
LOWER_FACE = (0, 3, 7, 4)  # corners of geometry.box_corners, in order around the box


class BirdView:
    """A square seen from above: the ego frame's x (forward) points up, its y (left) to the left.

    Args:
        size: pixels of a side.
        radius: m from the ego vehicle to the border.
        global2ego: [4, 4] global points to the ego frame.
    """

    def __init__(self, size: int, global2ego: np.ndarray, radius: float = 55.0) -> None:
        self.image = np.full((size, size, 3), BACKGROUND, dtype=np.uint8)
        self.global2ego = global2ego
        self.scale = size / (2 * radius)
        self.middle = size / 2
        for distance in range(10, int(radius), 10):
            center, r = (round(self.middle),) * 2, round(distance * self.scale)
            cv2.circle(self.image, center, r, GRID, 1, cv2.LINE_AA)
            if distance % 20 == 0:
                place = (center[0] + 3, center[1] - r - 3)
                self._text(f"{distance} m", place, TEXT)

    def _text(self, text: str, place: tuple[int, int], color: Color) -> None:
        cv2.putText(self.image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, color, 1, cv2.LINE_AA)

    def pixels(self, ego_points: np.ndarray) -> np.ndarray:
        """Pixels [..., 2] of points [..., 2+] in the ego frame (m)."""
        x, y = ego_points[..., 0], ego_points[..., 1]
        return np.stack([self.middle - y * self.scale, self.middle - x * self.scale], axis=-1)

    def draw_lidar(self, points: np.ndarray, lidar2ego: np.ndarray) -> None:
        """Lidar points [n, 3+] of the lidar frame, shaded by height."""
        ego = geometry.transform_points(points[:, :3].astype(np.float64), lidar2ego)
        u, v = np.round(self.pixels(ego)).astype(int).T
        size = len(self.image)
        inside = (u >= 0) & (u < size) & (v >= 0) & (v < size)
        height = np.clip((ego[inside, 2] + 0.5) / 4, 0, 1)[:, None]
        low, high = np.array((96, 80, 62)), np.array((210, 200, 160))
        self.image[v[inside], u[inside]] = (low + height * (high - low)).astype(np.uint8)

    def draw_ego(self) -> None:
        """The recording car, pointing up."""
        w, length = EGO_SIZE
        nose = np.array([[0.35, 0], [-0.2, 0.3], [-0.2, -0.3]]) * length
        body = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * (length / 2, w / 2)
        cv2.polylines(self.image, [to_fixed(self.pixels(body))], True, EGO, 1, cv2.LINE_AA, SHIFT)
        cv2.fillConvexPoly(self.image, to_fixed(self.pixels(nose)), EGO, cv2.LINE_AA, SHIFT)

    def draw_boxes(self, boxes: Boxes, labels: bool = True) -> None:
        """Footprints with a line to the front, and the ids."""
        corners = boxes.corners(self.global2ego)
        for box, track_id in zip(corners, boxes.ids, strict=True):
            color = track_color(track_id)
            self._footprint(box, color, 2)
            if labels:
                x, y = self.pixels(box.mean(0))
                self._text(track_id.split("-")[-1], (int(x) + 5, int(y) - 4), color)

    def draw_outlines(self, boxes: Boxes) -> None:
        """Thin footprints of one colour, for the ground truth."""
        for box in boxes.corners(self.global2ego):
            self._footprint(box, TRUTH, 1)

    def _footprint(self, box: np.ndarray, color: Color, thickness: int) -> None:
        outline = self.pixels(box[list(LOWER_FACE)])
        front = self.pixels(box[list(geometry.FRONT_CORNERS)].mean(0))
        lines = [to_fixed(outline), to_fixed(np.stack([outline.mean(0), front]))]
        cv2.polylines(self.image, lines[:1], True, color, thickness, cv2.LINE_AA, SHIFT)
        cv2.polylines(self.image, lines[1:], False, color, thickness, cv2.LINE_AA, SHIFT)

    def draw_paths(self, boxes: Boxes, history: History | None) -> None:
        """Histories fading out, forecasts as dots growing smaller with time."""
        for i, track_id in enumerate(boxes.ids):
            color = track_color(track_id)
            if history is not None:
                past = history.path(track_id)
                pixels = to_fixed(self.pixels(geometry.transform_points(past, self.global2ego)))
                for k in range(len(pixels) - 1):
                    fade = (k + 1) / len(pixels)
                    shade = tuple(
                        int(fade * c + (1 - fade) * b)
                        for c, b in zip(color, BACKGROUND, strict=True)
                    )
                    cv2.polylines(
                        self.image, [pixels[k : k + 2]], False, shade, 1, cv2.LINE_AA, SHIFT
                    )
            future = geometry.transform_points(boxes.forecast_path(i), self.global2ego)
            if len(future) > 1:
                pixels = to_fixed(self.pixels(future))
                cv2.polylines(self.image, [pixels], False, color, 1, cv2.LINE_AA, SHIFT)
                for point in pixels[1:]:
                    center = (int(point[0]), int(point[1]))
                    cv2.circle(self.image, center, 10, color, -1, cv2.LINE_AA, SHIFT)
