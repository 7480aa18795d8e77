"""Pictures of single things: a training clip, and one object in two consecutive frames."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from pftrack import geometry
from pftrack.boxes import Boxes
from pftrack.structures import ClipBatch, Frame, FrameTargets
from pftrack.visualization.bird_view import BirdView
from pftrack.visualization.camera_view import CameraView
from pftrack.visualization.mosaic import camera_views
from pftrack.visualization.rig import ROWS, camera_names
from pftrack.visualization.scenes import SceneFrames

MARK = (255, 0, 255)


def boxes_of_targets(targets: FrameTargets, names: tuple[str, ...]) -> Boxes:
    """Training targets as boxes in the lidar frame (use the lidar frame as the global one)."""
    boxes = targets.boxes.double().numpy()
    yaw = geometry.rot_to_yaw(boxes[:, 6])
    return Boxes(
        ids=[str(i) for i in targets.instance_inds.tolist()],
        names=[names[label] for label in targets.labels.tolist()],
        scores=np.ones(len(boxes)),
        center=boxes[:, :3],
        size=boxes[:, 3:6],
        rotation=geometry.quaternion_from_yaw(yaw),
        velocity=boxes[:, 7:9],
    )


def clip_picture(batch: ClipBatch, names: tuple[str, ...], clip: int = 0) -> np.ndarray:
    """The images of a training clip as the network gets them, with its targets: a row per frame.

    Args:
        batch: uint8, as it leaves the loader.  names: classes by label.
    """
    names_of = camera_names(batch.img.shape[2])
    order = [i for row in ROWS for name in row for i, n in enumerate(names_of) if n == name]
    order += [i for i in range(len(names_of)) if i not in order]
    rows = []
    for t in range(batch.num_frames):
        boxes = boxes_of_targets(batch.targets[clip][t], names)
        row = []
        for camera in order:
            image = np.ascontiguousarray(batch.img[clip, t, camera].permute(1, 2, 0).numpy())
            view = CameraView(image, batch.lidar2img[clip, t, camera].numpy())
            view.draw_boxes(boxes, labels=False)
            row.append(view.image)
        rows.append(np.hstack(row))
    return np.vstack(rows)


def object_picture(
    scene: SceneFrames, step: int, boxes: Mapping[str, Boxes], point: np.ndarray, size: int = 400
) -> np.ndarray:
    """One object just before and at a key frame: camera close-ups above, seen from above below.

    Args:
        step: key frame of the scene; the one before it is drawn beside it.
        boxes: sample token -> tracked boxes.  point: [2] or [3] global position of the object (m).
        size: px of a panel.
    """
    columns = []
    for t in (max(step - 1, 0), step):
        frame = scene.frame(t)
        tracked = boxes.get(frame.sample_token, Boxes.from_rows([]))
        truth = scene.truth(t)
        nearest = np.array([*np.asarray(point)[:2], _ground_height(truth, point)])
        header = np.full((24, size, 3), 16, dtype=np.uint8)
        cv2.putText(
            header, f"{scene.name}  frame {t + 1}", (6, 17),
            cv2.FONT_HERSHEY_SIMPLEX, 0.45, (230, 230, 230), 1, cv2.LINE_AA,
        )  # fmt: skip
        columns.append(
            np.vstack(
                [
                    header,
                    _camera_closeup(frame, tracked, truth, nearest, size),
                    _bird_closeup(frame, tracked, truth, nearest, size),
                ]
            )
        )
    return np.hstack(columns)


def _ground_height(truth: Boxes, point: np.ndarray) -> float:
    """Height of the nearest annotated object's centre; 0 when there is none."""
    if not len(truth):
        return 0.0
    distance = np.linalg.norm(truth.center[:, :2] - np.asarray(point)[:2], axis=1)
    return float(truth.center[np.argmin(distance), 2])


def _camera_closeup(
    frame: Frame, tracked: Boxes, truth: Boxes, point: np.ndarray, size: int
) -> np.ndarray:
    """The camera that sees the point most centrally, cut out around it."""
    views = camera_views(frame, 800)
    best, place = None, np.zeros(2)
    for view in views:
        pixel, depth = geometry.project(point[None], view.global2img)
        h, w = view.image.shape[:2]
        inside = depth[0] > 0 and 0 <= pixel[0, 0] < w and 0 <= pixel[0, 1] < h
        if inside and (best is None or abs(pixel[0, 0] - w / 2) < abs(place[0] - w / 2)):
            best, place = view, pixel[0]
    height = size * 3 // 4
    if best is None:
        return np.zeros((height, size, 3), dtype=np.uint8)
    best.draw_outlines(truth)
    best.draw_boxes(tracked)
    cv2.circle(best.image, (int(place[0]), int(place[1])), 14, MARK, 1, cv2.LINE_AA)
    h, w = best.image.shape[:2]
    x = int(np.clip(place[0] - size / 2, 0, w - size))
    y = int(np.clip(place[1] - height / 2, 0, h - height))
    return best.image[y : y + height, x : x + size]


def _bird_closeup(
    frame: Frame, tracked: Boxes, truth: Boxes, point: np.ndarray, size: int
) -> np.ndarray:
    view = BirdView(size, geometry.invert_pose(np.asarray(frame.ego2global)), radius=40)
    view.draw_outlines(truth)
    view.draw_boxes(tracked)
    view.draw_ego()
    x, y = view.pixels(geometry.transform_points(point[None], view.global2ego)[0])
    cv2.circle(view.image, (int(x), int(y)), 12, MARK, 1, cv2.LINE_AA)
    return view.image
