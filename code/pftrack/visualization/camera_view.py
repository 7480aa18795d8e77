"""One camera image with boxes, forecasts and histories drawn into it."""

from __future__ import annotations

import cv2
import numpy as np

from pftrack import geometry
from pftrack.boxes import Boxes
from pftrack.visualization.trails import Color, History, track_color

NEAR = 0.3  # m: lines are cut at this distance in front of the camera
FAR = 80.0  # m: boxes further away are not drawn
SHIFT = 3  # fractional bits of pixel coordinates
FACE_OPACITY = 0.3
WHITE: Color = (255, 255, 255)


def clip_to_front(segments: np.ndarray) -> np.ndarray:
    """Cut line segments at the near plane.

    Args:
        segments: [n, 2, 3] end points as (u * d, v * d, d), linear in space.

    Returns:
        [m, 2, 2] pixels of the segments, m <= n, that are at least partly in front.
    """
    depth = segments[..., 2]
    segments = segments[(depth > NEAR).any(axis=1)].copy()
    a, b = segments[:, 0], segments[:, 1]
    for start, end in ((a, b), (b, a)):
        behind = start[:, 2] < NEAR
        t = (NEAR - start[behind, 2]) / (end[behind, 2] - start[behind, 2])
        start[behind] += t[:, None] * (end[behind] - start[behind])
    return segments[..., :2] / segments[..., 2:]


def to_fixed(pixels: np.ndarray) -> np.ndarray:
    """Pixels as the fixed-point integers that OpenCV's anti-aliased lines take."""
    return np.round(np.clip(pixels, -1e5, 1e5) * (1 << SHIFT)).astype(np.int32)


class CameraView:
    """Draws into one camera.

    Args:
        image: BGR uint8 [h, w, 3]; is drawn into.
        global2img: [4, 4] global points (m) to pixels of ``image``.
    """

    def __init__(self, image: np.ndarray, global2img: np.ndarray) -> None:
        self.image = image
        self.global2img = global2img
        self.scale = image.shape[1] / 640

    def _homogeneous(self, points: np.ndarray) -> np.ndarray:
        return geometry.transform_points(points, self.global2img)

    def _lines(self, segments: np.ndarray, color: Color, thickness: int = 1) -> None:
        lines = list(to_fixed(clip_to_front(segments)))
        cv2.polylines(self.image, lines, False, color, thickness, cv2.LINE_AA, SHIFT)

    def visible(self, boxes: Boxes) -> np.ndarray:
        """Indices of the boxes in view, far ones first."""
        if not len(boxes):
            return np.zeros(0, dtype=int)
        corners = self._homogeneous(boxes.corners(np.eye(4)))
        depth = corners[..., 2]
        pixels = corners[..., :2] / np.maximum(depth, NEAR)[..., None]
        h, w = self.image.shape[:2]
        inside = (pixels.max(1) > 0).all(-1) & (pixels.min(1) < (w, h)).all(-1)
        center_depth = depth.mean(1)
        keep = inside & (depth.max(1) > NEAR) & (center_depth > NEAR) & (center_depth < FAR)
        index = np.flatnonzero(keep)
        return index[np.argsort(-center_depth[index])]

    def draw_boxes(self, boxes: Boxes, labels: bool = True) -> None:
        """Wire frames with a tinted front face, and a label (id and score) above each."""
        index = self.visible(boxes)
        boxes = boxes.select(index)
        if not len(boxes):
            return
        corners = self._homogeneous(boxes.corners(np.eye(4)))
        tinted = self.image.copy()
        for box, track_id in zip(corners, boxes.ids, strict=True):
            face = box[list(geometry.FRONT_CORNERS)]
            if (face[:, 2] > NEAR).all():
                points = to_fixed(face[:, :2] / face[:, 2:])
                cv2.fillConvexPoly(tinted, points, track_color(track_id), cv2.LINE_AA, SHIFT)
        cv2.addWeighted(tinted, FACE_OPACITY, self.image, 1 - FACE_OPACITY, 0, self.image)
        edges = np.array(geometry.BOX_EDGES)
        for box, track_id in zip(corners, boxes.ids, strict=True):
            self._lines(box[edges], track_color(track_id), 2 if self.scale > 0.9 else 1)
        if labels:
            for box, track_id, score in zip(corners, boxes.ids, boxes.scores, strict=True):
                self._label(box, f"{track_id.split('-')[-1]} {score:.2f}", track_color(track_id))

    def draw_outlines(self, boxes: Boxes, color: Color = WHITE) -> None:
        """Thin wire frames of one colour, for the ground truth."""
        edges = np.array(geometry.BOX_EDGES)
        index = self.visible(boxes)
        for box in self._homogeneous(boxes.select(index).corners(np.eye(4))):
            self._lines(box[edges], color)

    def draw_paths(self, boxes: Boxes, history: History | None) -> None:
        """Forecasts as bright lines, histories fading to dark, both on the ground."""
        for i in self.visible(boxes):
            color = track_color(boxes.ids[i])
            if history is not None:
                past = self._homogeneous(history.path(boxes.ids[i]))
                for k in range(len(past) - 1):
                    faded = (k + 1) / len(past)
                    shade = tuple(int(c * faded * 0.8) for c in color)
                    self._lines(past[None, k : k + 2], shade, 1)  # type: ignore[arg-type]
            future = self._homogeneous(boxes.forecast_path(i))
            if len(future) > 1:
                self._lines(np.stack([future[:-1], future[1:]], axis=1), color, 2)

    def _label(self, box: np.ndarray, text: str, color: Color) -> None:
        front = box[box[:, 2] > NEAR]
        pixels = front[:, :2] / front[:, 2:]
        (x0, y0), (x1, _) = pixels.min(0), pixels.max(0)
        if x1 - x0 < 10 * self.scale:  # too small to be told apart
            return
        size = 0.38 * max(self.scale, 0.8)
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        h, w = self.image.shape[:2]
        x = int(np.clip((x0 + x1 - width) / 2, 0, w - width))
        y = int(np.clip(y0 - 3, height + 2, h - 2))
        patch = self.image[y - height - 2 : y + 3, x : x + width]
        patch //= 3
        cv2.putText(self.image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)
