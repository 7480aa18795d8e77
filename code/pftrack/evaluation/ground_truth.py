"""Ground truth of a split, read from the nuScenes tables without the devkit's database object.

The tables are streamed and only what the split needs is kept: the devkit holds every record of
every table as a dictionary, more than 10 GB for trainval.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pftrack.errors import UserError
from pftrack.evaluation.tables import BoxTable, FrameTable
from pftrack.evaluation.tracks import BikeRacks
from pftrack.nuscenes.json_stream import iter_records
from pftrack.nuscenes.splits import scene_names

# The devkit's category_to_tracking_name.
TRACKING_NAME = {
    "vehicle.bicycle": "bicycle",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.car": "car",
    "vehicle.motorcycle": "motorcycle",
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.police_officer": "pedestrian",
    "vehicle.trailer": "trailer",
    "vehicle.truck": "truck",
}
BIKE_RACK = "static_object.bicycle_rack"


@dataclass
class GroundTruth:
    """Annotations of a split before any filter: frames, boxes of the tracking classes, racks."""

    frames: FrameTable
    boxes: BoxTable
    racks: BikeRacks


def scenes_of_split(dataroot: Path, version: str, split: str) -> list[str]:
    """Scene names of an official split, or of one defined in ``<dataroot>/<version>/splits.json``.

    Raises:
        UserError: the version has no such split.
    """
    custom = dataroot / version / "splits.json"
    if custom.is_file():
        names = json.loads(custom.read_text(encoding="utf-8"))
        if split in names:
            return names[split]
    return scene_names(version, split)


def load_ground_truth(
    dataroot: str | Path, version: str, split: str, class_names: tuple[str, ...]
) -> GroundTruth:
    """Read the frames and annotations of a split (``load_gt`` and ``add_center_dist``).

    Args:
        class_names: a box's label is the index of its tracking name here; others are dropped.

    Raises:
        UserError: missing table, unknown split, or a table with a dangling token.
    """
    dataroot = Path(dataroot)
    root = dataroot / version
    if not root.is_dir():
        raise UserError(f"no nuScenes tables in {root}: check --dataroot and --version")
    names = set(scenes_of_split(dataroot, version, split))
    scenes = [s for s in iter_records(root / "scene.json") if s["name"] in names]
    if not scenes:
        raise UserError(f"no scene of split '{split}' in {root / 'scene.json'}")
    try:
        frames = _load_frames(root, scenes)
        boxes, racks = _load_boxes(root, frames, class_names)
    except KeyError as error:
        raise UserError(
            f"the tables in {root} do not fit together: {error.args[0]!r} is referred to or needed "
            f"but missing"
        ) from None
    return GroundTruth(frames, boxes, racks)


def _load_frames(root: Path, scenes: list[dict[str, Any]]) -> FrameTable:
    wanted = {scene["token"] for scene in scenes}
    samples = {
        s["token"]: s for s in iter_records(root / "sample.json") if s["scene_token"] in wanted
    }
    tokens: list[str] = []
    number: list[int] = []
    for n, scene in enumerate(scenes):
        token = scene["first_sample_token"]
        while True:
            tokens.append(token)
            number.append(n)
            if token == scene["last_sample_token"]:
                break
            token = samples[token]["next"]
    pose_of_sample = _lidar_pose_tokens(root, set(tokens))
    needed = set(pose_of_sample.values())
    position = {
        p["token"]: p["translation"]
        for p in iter_records(root / "ego_pose.json")
        if p["token"] in needed
    }
    return FrameTable(
        sample_tokens=tokens,
        scene=np.array(number),
        timestamp=np.array([samples[t]["timestamp"] for t in tokens], np.int64),
        ego=np.array([position[pose_of_sample[t]] for t in tokens], float),
        scene_names=[s["name"] for s in scenes],
        scene_tokens=[s["token"] for s in scenes],
    )


def _lidar_pose_tokens(root: Path, samples: set[str]) -> dict[str, str]:
    """Ego pose token of the LIDAR_TOP key frame of each sample."""
    lidars = {s["token"] for s in iter_records(root / "sensor.json") if s["channel"] == "LIDAR_TOP"}
    mounts = {
        c["token"]
        for c in iter_records(root / "calibrated_sensor.json")
        if c["sensor_token"] in lidars
    }
    return {
        d["sample_token"]: d["ego_pose_token"]
        for d in iter_records(root / "sample_data.json")
        if d["is_key_frame"]
        and d["calibrated_sensor_token"] in mounts
        and d["sample_token"] in samples
    }


def _load_boxes(
    root: Path, frames: FrameTable, class_names: tuple[str, ...]
) -> tuple[BoxTable, BikeRacks]:
    category = {c["token"]: c["name"] for c in iter_records(root / "category.json")}
    category_of = {
        i["token"]: category[i["category_token"]] for i in iter_records(root / "instance.json")
    }
    label_of = {name: label for label, name in enumerate(class_names)}
    frame_of = frames.index()
    tracks: dict[str, int] = {}
    boxes: list[tuple] = []
    racks: list[tuple] = []
    for a in iter_records(root / "sample_annotation.json"):
        frame = frame_of.get(a["sample_token"])
        if frame is None:
            continue
        name = category_of[a["instance_token"]]
        label = label_of.get(TRACKING_NAME.get(name, ""))
        if label is not None:
            track = tracks.setdefault(a["instance_token"], len(tracks))
            points = a["num_lidar_pts"] + a["num_radar_pts"]
            level = int(a.get("visibility_token") or 0)
            boxes.append((frame, track, label, points, level, *a["translation"]))
        elif name == BIKE_RACK:
            racks.append((frame, *a["translation"], *a["size"], *a["rotation"]))
    rows = np.array(boxes, float).reshape(-1, 8)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    integers = rows[:, :5].astype(np.int64)
    table = BoxTable(
        frame=integers[:, 0],
        track=integers[:, 1],
        label=integers[:, 2],
        num_pts=integers[:, 3],
        visibility=integers[:, 4],
        center=rows[:, 5:].copy(),
        score=np.full(len(rows), -1.0),
        velocity=np.full((len(rows), 2), np.nan),
        interpolated=np.zeros(len(rows), bool),
        forecast=None,
        track_names=list(tracks),
    )
    rack = np.array(racks, float).reshape(-1, 11)
    rack = rack[np.argsort(rack[:, 0], kind="stable")]
    return table, BikeRacks(rack[:, 0].astype(np.int64), rack[:, 1:4], rack[:, 4:7], rack[:, 7:])
