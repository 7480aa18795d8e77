"""What the data consist of: classes, sensors, the clock of the key frames. Imports nothing."""

from __future__ import annotations

from collections.abc import Iterable

CLASSES = (
    "car",
    "truck",
    "bus",
    "trailer",
    "motorcycle",
    "bicycle",
    "pedestrian",
    "construction_vehicle",
    "traffic_cone",
    "barrier",
)
# A category of the tables for each class; several others count as the same class.
CATEGORIES = {
    "car": "vehicle.car",
    "truck": "vehicle.truck",
    "bus": "vehicle.bus.rigid",
    "trailer": "vehicle.trailer",
    "motorcycle": "vehicle.motorcycle",
    "bicycle": "vehicle.bicycle",
    "pedestrian": "human.pedestrian.adult",
    "construction_vehicle": "vehicle.construction",
    "traffic_cone": "movable_object.trafficcone",
    "barrier": "movable_object.barrier",
}
TRACKING_CLASSES = CLASSES[:7]
CAMERAS = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_FRONT_LEFT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_BACK_RIGHT",
)
MOST_CAMERAS = 12
LIDAR = "LIDAR_TOP"
KEY_FRAME_SECONDS = 0.5  # from one key frame to the next
FUTURE_FRAMES = 13  # of an annotation in the info files: now and the 12 following key frames
FORECAST_STEPS = 8  # key frames that the published trackers look ahead


def rig_order(names: Iterable[str]) -> tuple[str, ...]:
    """The cameras of a rig in the order of the network: nuScenes' in theirs, then the others."""
    known = list(dict.fromkeys(names))
    return (
        *(name for name in CAMERAS if name in known),
        *(name for name in known if name not in CAMERAS),
    )
