"""One frame as a picture: the cameras around, the bird's-eye view beside them, a line of text."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pftrack import geometry
from pftrack.boxes import Boxes
from pftrack.datasets.frames import lidar2cam_matrices
from pftrack.datasets.image_loading import read_image
from pftrack.errors import UserError
from pftrack.structures import Frame
from pftrack.visualization.bird_view import BirdView
from pftrack.visualization.camera_view import CameraView
from pftrack.visualization.rig import camera_names, label, layout
from pftrack.visualization.trails import History

HEADER = 28  # px
_POOL = ThreadPoolExecutor(max_workers=2)  # decoding and resizing release the GIL


@dataclass
class Style:
    """What is drawn and how large.

    Attributes:
        camera_width: px of one camera in the mosaic (multiple of 16).
        labels: ids and scores at the boxes.
        cameras, bird: draw the camera mosaic, the bird's-eye view.
        paths: histories and forecasts.
    """

    camera_width: int = 480
    labels: bool = True
    cameras: bool = True
    bird: bool = True
    paths: bool = True


def read_lidar(path: Path) -> np.ndarray:
    """Points [n, 5] (x, y, z, intensity, ring) of a nuScenes ``.pcd.bin`` file, lidar frame.

    Raises:
        UserError: the file's size fits no whole number of points.
    """
    points = np.fromfile(path, dtype=np.float32)
    if points.size % 5:
        raise UserError(f"lidar file '{path}' is damaged: {points.nbytes} bytes; get it again")
    return points.reshape(-1, 5)


def camera_views(frame: Frame, width: int) -> list[CameraView]:
    """The frame's images at ``width`` pixels, ready to be drawn into, in their order.

    A camera without an image is dark, of the shape that its principal point tells.

    Raises:
        UserError: an image cannot be read.
    """
    lidar2cam = lidar2cam_matrices(frame)
    global2lidar = geometry.invert_pose(frame.ego2global @ frame.lidar2ego)

    def load(camera: int) -> CameraView:
        source = frame.images[camera]
        if source is None:
            w, h = np.maximum(1, np.round(2 * frame.intrinsics[camera][:2, 2])).astype(int)
            image = np.full((h, w, 3), 32, dtype=np.uint8)
        else:
            image = read_image(source)
        scale = width / image.shape[1]
        height = 2 * round(image.shape[0] * scale / 2)
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        # The scale of each axis as it came out; pixel centres lie at half-integers.
        scale_x, scale_y = width / image.shape[1], height / image.shape[0]
        resize = np.array(
            [[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]]
        )
        intrinsics = resize @ frame.intrinsics[camera]
        lidar2img = geometry.lidar2img_matrix(intrinsics, lidar2cam[camera])
        return CameraView(small, lidar2img @ global2lidar)

    return list(_POOL.map(load, range(len(frame.images))))


def draw_frame(
    frame: Frame,
    boxes: Boxes,
    history: History | None = None,
    truth: Boxes | None = None,
    lidar: np.ndarray | None = None,
    title: str = "",
    style: Style | None = None,
) -> np.ndarray:
    """The whole picture of one frame.

    Args:
        frame: images and calibration.
        boxes: what to draw, global frame.
        history: past positions; the caller updates it frame by frame.
        truth: ground truth, drawn as thin white outlines.
        lidar: points [n, 3+] of the lidar frame for the bird's-eye view.
        title: text of the header.

    Returns:
        BGR uint8 [h, w, 3], h and w even.
    """
    style = style or Style()
    parts = []
    if style.cameras:
        parts.append(_draw_cameras(frame, boxes, history, truth, style))
    if style.bird:
        size = len(parts[0]) if parts else 2 * style.camera_width
        view = BirdView(size, geometry.invert_pose(np.asarray(frame.ego2global)))
        if lidar is not None:
            view.draw_lidar(lidar, frame.lidar2ego)
        if truth is not None:
            view.draw_outlines(truth)
        if style.paths:
            view.draw_paths(boxes, history)
        view.draw_boxes(boxes, style.labels)
        view.draw_ego()
        parts.append(view.image)
    picture = np.hstack(parts)
    header = np.full((HEADER, picture.shape[1], 3), 16, dtype=np.uint8)
    cv2.putText(
        header, title, (8, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (230, 230, 230), 1, cv2.LINE_AA
    )
    return np.vstack([header, picture])


def _draw_cameras(
    frame: Frame, boxes: Boxes, history: History | None, truth: Boxes | None, style: Style
) -> np.ndarray:
    views = camera_views(frame, style.camera_width)
    names = camera_names(len(views), frame.cameras)

    def draw(camera: int) -> None:
        view = views[camera]
        if truth is not None:
            view.draw_outlines(truth)
        if style.paths:
            view.draw_paths(boxes, history)
        view.draw_boxes(boxes, style.labels)
        view.image[:18] //= 2
        cv2.putText(
            view.image, label(names[camera]), (6, 13),
            cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA,
        )  # fmt: skip

    list(_POOL.map(draw, range(len(views))))
    seen = zip(views, frame.images, strict=True)
    height = max(len(view.image) for view, source in seen if source is not None)

    def cell(camera: int | None) -> np.ndarray:
        place = np.zeros((height, style.camera_width, 3), dtype=np.uint8)
        if camera is not None:
            image = views[camera].image[:height]
            place[: len(image)] = image
        return place

    rows = layout(names, np.asarray(frame.sensor2ego))
    return np.vstack([np.hstack([cell(camera) for camera in row]) for row in rows])


def stack(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Pictures of equal width below one another."""
    return np.vstack(list(pictures))
