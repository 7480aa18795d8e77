"""Boxes of one frame -> the dicts of a nuScenes submission file (pure functions).

Formats: nuScenes devkit, ``eval/tracking`` and ``eval/detection`` README; ``forecasting`` is an
extra field of ours. Class ranges: the devkit's ``detection_cvpr_2019`` configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pftrack import geometry
from pftrack.boxes import Boxes
from pftrack.nuscenes.facts import CLASSES, TRACKING_CLASSES

CLASS_RANGE = {  # m, planar, in the ego frame
    "car": 50,
    "truck": 50,
    "bus": 50,
    "trailer": 50,
    "construction_vehicle": 50,
    "pedestrian": 40,
    "motorcycle": 40,
    "bicycle": 40,
    "traffic_cone": 30,
    "barrier": 30,
}
MOVING_SPEED = 0.2  # m/s

# Attribute of an object that moves, and of one at rest; absent: the default.
_MOVING = {
    **dict.fromkeys(("car", "construction_vehicle", "bus", "truck", "trailer"), "vehicle.moving"),
    **dict.fromkeys(("bicycle", "motorcycle"), "cycle.with_rider"),
}
_AT_REST = {"pedestrian": "pedestrian.standing", "bus": "vehicle.stopped"}
_DEFAULT = {
    **dict.fromkeys(("car", "trailer", "truck", "construction_vehicle"), "vehicle.parked"),
    "bus": "vehicle.moving",
    "pedestrian": "pedestrian.moving",
    **dict.fromkeys(("motorcycle", "bicycle"), "cycle.without_rider"),
    **dict.fromkeys(("barrier", "traffic_cone"), ""),
}


def attribute_name(name: str, speed: float) -> str:
    """nuScenes attribute of a class at a planar speed (m/s)."""
    rule = _MOVING if speed > MOVING_SPEED else _AT_REST
    return rule.get(name, _DEFAULT[name])


def within_class_range(
    boxes: np.ndarray, names: Sequence[str], lidar2ego: np.ndarray
) -> np.ndarray:
    """Mask [n] of lidar boxes [n, 9] that the evaluation would not discard by range."""
    center = geometry.transform_points(np.asarray(boxes[:, :3], dtype=np.float64), lidar2ego)
    limit = np.array([CLASS_RANGE[name] for name in names], dtype=np.float64)
    return np.linalg.norm(center[:, :2], axis=1) <= limit


def to_global(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    lidar2ego: np.ndarray,
    ego2global: np.ndarray,
    ids: Sequence[str] = (),
    forecast: np.ndarray | None = None,
    classes: Sequence[str] = CLASSES,
) -> Boxes:
    """Model output of one frame in the global frame; boxes beyond their class range are dropped.

    Args:
        boxes: [n, 9] legacy boxes in the lidar frame.  scores, labels: [n].
        lidar2ego, ego2global: [4, 4].
        ids: n track ids; none: the rows' numbers.
        forecast: [n, F, 2] displacements in the lidar frame, m; they turn with the frame only.
    """
    names = [classes[label] for label in np.asarray(labels).tolist()]
    keep = within_class_range(boxes, names, lidar2ego)
    chosen = np.flatnonzero(keep).tolist()
    center, size, rotation, velocity = geometry.legacy_boxes_to_global(
        boxes[keep], lidar2ego, ego2global
    )
    if forecast is not None:
        forecast = np.asarray(forecast[keep], dtype=np.float64)
        forecast = forecast @ lidar2ego[:2, :2].T @ ego2global[:2, :2].T
    return Boxes(
        center=center,
        size=size,
        rotation=rotation,
        velocity=velocity[:, :2],
        names=[names[i] for i in chosen],
        scores=np.asarray(scores)[keep],
        forecast=() if forecast is None else list(forecast),
        ids=[ids[i] if len(ids) else str(i) for i in chosen],
    )


def tracking_results(sample_token: str, boxes: Boxes) -> list[dict[str, Any]]:
    """Boxes of the tracking classes, in the format of the tracking submission."""
    results = []
    for i, common in _common_fields(sample_token, boxes):
        name = boxes.names[i]
        if name not in TRACKING_CLASSES:
            continue
        box = common | {
            "tracking_name": name,
            "attribute_name": attribute_name(name, float(np.hypot(*boxes.velocity[i]))),
            "tracking_score": float(boxes.scores[i]),
            "tracking_id": boxes.ids[i],
        }
        forecast = boxes.forecast[i]
        if forecast is not None:
            box["forecasting"] = forecast.tolist()
        results.append(box)
    return results


def detection_results(sample_token: str, boxes: Boxes) -> list[dict[str, Any]]:
    """Boxes in the format of the detection submission."""
    return [
        common
        | {
            "detection_name": boxes.names[i],
            "detection_score": float(boxes.scores[i]),
            "attribute_name": attribute_name(boxes.names[i], float(np.hypot(*boxes.velocity[i]))),
        }
        for i, common in _common_fields(sample_token, boxes)
    ]


def _common_fields(sample_token: str, boxes: Boxes) -> list[tuple[int, dict[str, Any]]]:
    columns = (boxes.center, boxes.size, boxes.rotation, boxes.velocity)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    keys = ("translation", "size", "rotation", "velocity")
    return [
        (i, {"sample_token": sample_token, **dict(zip(keys, row, strict=True))})
        for i, row in enumerate(rows)
    ]
