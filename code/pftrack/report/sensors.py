"""Camera images and lidar points of a scene, small enough for a page."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pftrack import geometry
from pftrack.structures import Frame
from pftrack.visualization.mosaic import camera_views
from pftrack.visualization.rig import camera_names, label
from pftrack.visualization.scenes import SceneFrames

_WIDTH = 320  # px of an image
_QUALITY = 65  # of its JPEG
_POINTS = 1500  # of a frame
_RADIUS = 55.0  # m around the vehicle
_CELL = 0.4  # m: one point of each such square


def sensor_data(scene: SceneFrames, tokens: list[str], origin: np.ndarray) -> list[Any]:
    """What the explorer shows of the sensors in each frame.

    Args:
        tokens: sample tokens of the frames.  origin: [3] global position that counts as zero, m.

    Returns:
        one entry per frame: ``images`` (base64 JPEG, in the order of the rig), ``size`` (width,
        height), ``matrices`` (3 x 4, metres from the origin to homogeneous pixels) and ``lidar``
        (base64 of little-endian int16 x, y in cm from the vehicle); None where the scene has no
        such frame or a file is missing.
    """
    number = {token: t for t, token in enumerate(scene.tokens)}
    return [
        _frame_data(scene, number[token], origin) if token in number else None for token in tokens
    ]


def _frame_data(scene: SceneFrames, t: int, origin: np.ndarray) -> dict[str, Any] | None:
    frame = scene.frame(t)
    if not all(image is None or Path(str(image)).is_file() for image in frame.images):
        return None
    views = camera_views(frame, _WIDTH)
    shift = np.eye(4)
    shift[:3, 3] = origin
    points = scene.lidar(t)
    return {
        "images": [_jpeg(view.image) for view in views],
        "names": [label(name) for name in camera_names(len(views), frame.cameras)],
        "size": [_WIDTH, views[0].image.shape[0]],
        "matrices": [
            [float(f"{v:.7g}") for v in (view.global2img @ shift)[:3].ravel()] for view in views
        ],
        "lidar": None if points is None else _thinned(points, frame),
    }


def _jpeg(image: np.ndarray) -> str:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return base64.b64encode(data.tobytes()).decode()


def _thinned(points: np.ndarray, frame: Frame) -> str:
    """Points [n, 3+] of the lidar frame from above: one in a cell, so many of them."""
    lidar2global = np.asarray(frame.ego2global) @ np.asarray(frame.lidar2ego)
    place = geometry.transform_points(points[:, :3].astype(np.float64), lidar2global)
    offset = place[:, :2] - np.asarray(frame.ego2global)[:2, 3]
    offset = offset[np.abs(offset).max(axis=1) < _RADIUS]
    _, one = np.unique(np.floor(offset / _CELL), axis=0, return_index=True)
    if len(one) > _POINTS:
        one = np.random.default_rng(0).choice(one, _POINTS, replace=False)
    return base64.b64encode(np.round(offset[one] * 100).astype("<i2").tobytes()).decode()
