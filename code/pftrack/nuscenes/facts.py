"""What the data consist of: classes, sensors, the clock of the key frames. Imports nothing."""

from __future__ import annotations

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
TRACKING_CLASSES = CLASSES[:7]
CAMERAS = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_FRONT_LEFT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_BACK_RIGHT",
)
LIDAR = "LIDAR_TOP"
KEY_FRAME_SECONDS = 0.5  # from one key frame to the next
FUTURE_FRAMES = 13  # of an annotation in the info files: now and the 12 following key frames
FORECAST_STEPS = 8  # key frames that the published trackers look ahead
