"""Ground truth of a split, read from the nuScenes tables without the devkit's database object.

The tables are streamed and only what the split needs is kept: the devkit holds every record of
every table as a dictionary, more than 10 GB for trainval.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pftrack.errors import UserError
from pftrack.evaluation.tables import BoxTable, FrameTable
from pftrack.evaluation.tracks import BikeRacks
from pftrack.geometry import yaw_from_quaternion
from pftrack.nuscenes.facts import LIDAR
from pftrack.nuscenes.splits import is_split_file, lacking, scenes_of_split
from pftrack.nuscenes.tables import (
    Columns,
    Row,
    TokenIndex,
    read_columns,
    sensor_channels,
)

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
    """Annotations of a split before any filter: frames, boxes of the tracking classes, racks.

    Attributes:
        split: its name or file.
        others: sample tokens of the version's other scenes, whose results are passed over; of a
            split by file only: results of an official split have no others.
    """

    frames: FrameTable
    boxes: BoxTable
    racks: BikeRacks
    split: str = ""
    others: frozenset[str] = frozenset()

    def select(self, keep: np.ndarray) -> GroundTruth:
        """The frames [F] ``keep`` says, with what is in them."""
        number = np.cumsum(keep) - 1
        boxes = self.boxes.select(keep[self.boxes.frame])
        racks = keep[self.racks.frame]
        return GroundTruth(
            self.frames.select(keep),
            boxes.replace(frame=number[boxes.frame]),
            BikeRacks(
                number[self.racks.frame[racks]],
                self.racks.center[racks],
                self.racks.size[racks],
                self.racks.rotation[racks],
            ),
            self.split,
            self.others,
        )


def load_ground_truth(
    dataroot: str | Path, version: str, split: str, class_names: tuple[str, ...]
) -> GroundTruth:
    """Read the frames and annotations of a split (``load_gt`` and ``add_center_dist``).

    Args:
        class_names: a box's label is the index of its tracking name here; others are dropped.

    Raises:
        UserError: missing or damaged table, unknown split, or a table with a dangling token.
    """
    dataroot = Path(dataroot)
    root = dataroot / version
    if not root.is_dir():
        raise UserError(f"no nuScenes tables in {root}: check --dataroot and --version")
    names = set(scenes_of_split(dataroot, version, split))
    scenes = read_columns(root, "scene", ("token", "name"), lambda row: row["name"] in names)
    by_file = is_split_file(split)
    if by_file and (missing := names - set(scenes["name"])):
        raise lacking(split, sorted(missing), str(root / "scene.json"))
    if not scenes["name"]:
        raise UserError(f"no scene of split '{split}' in {root / 'scene.json'}")
    frames = _load_frames(root, scenes)
    boxes, racks = _load_boxes(root, frames, class_names)
    others = _other_samples(root, frames) if by_file else frozenset()
    return GroundTruth(frames, boxes, racks, split, others)


def _other_samples(root: Path, frames: FrameTable) -> frozenset[str]:
    here = frames.index()
    samples = read_columns(root, "sample", ("token",), lambda row: row["token"] not in here)
    return frozenset(samples["token"].astype(str).tolist())


def _load_frames(root: Path, scenes: Columns) -> FrameTable:
    scene_tokens = scenes["token"].astype(str).tolist()
    wanted = set(scene_tokens)
    samples = read_columns(
        root,
        "sample",
        ("token", "scene_token", "timestamp"),
        lambda row: row["scene_token"] in wanted,
    )
    scene = TokenIndex("scene", scenes["token"]).rows(
        "sample", "scene_token", samples["scene_token"]
    )
    order = np.lexsort((samples["timestamp"], scene))
    tokens = samples["token"][order]
    ego, ego_yaw = _ego_poses(root, tokens)
    return FrameTable(
        sample_tokens=tokens.astype(str).tolist(),
        scene=scene[order],
        timestamp=samples["timestamp"][order],
        ego=ego,
        ego_yaw=ego_yaw,
        scene_names=scenes["name"],
        scene_tokens=scene_tokens,
    )


def _ego_poses(root: Path, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Global position [F, 3] (m) and yaw [F] of the vehicle at each LIDAR_TOP key frame."""
    sensors = read_columns(root, "sensor", ("token", "channel"))
    mounts = read_columns(root, "calibrated_sensor", ("token", "sensor_token"))
    channels = sensor_channels(sensors, mounts)
    wanted = set(samples.astype(str).tolist())

    def of_lidar_key_frame(row: Row) -> bool:
        return (
            row["is_key_frame"]
            and channels.get(row["calibrated_sensor_token"]) == LIDAR
            and row["sample_token"] in wanted
        )

    names = ("sample_token", "ego_pose_token")
    data = read_columns(root, "sample_data", names, of_lidar_key_frame)
    rows = TokenIndex("sample_data", data["sample_token"]).rows("sample", "token", samples)
    pose_tokens = data["ego_pose_token"][rows]
    needed = set(pose_tokens.astype(str).tolist())
    poses = read_columns(
        root,
        "ego_pose",
        ("token", "translation", "rotation"),
        lambda row: row["token"] in needed,
    )
    rows = TokenIndex("ego_pose", poses["token"]).rows("sample_data", "ego_pose_token", pose_tokens)
    return poses["translation"][rows], yaw_from_quaternion(poses["rotation"][rows])


def _load_boxes(
    root: Path, frames: FrameTable, class_names: tuple[str, ...]
) -> tuple[BoxTable, BikeRacks]:
    categories = read_columns(root, "category", ("token", "name"))
    instances = read_columns(root, "instance", ("token", "category_token"))
    category = TokenIndex("category", categories["token"]).rows(
        "instance", "category_token", instances["category_token"]
    )
    frame_of = frames.index()
    rows = read_columns(
        root,
        "sample_annotation",
        (
            *("sample_token", "instance_token", "translation", "size", "rotation"),
            *("num_lidar_pts", "num_radar_pts", "visibility_token"),
        ),
        lambda row: row["sample_token"] in frame_of,
    )
    frame = np.array([frame_of[t] for t in rows["sample_token"].astype(str).tolist()], np.int64)
    instance = TokenIndex("instance", instances["token"]).rows(
        "sample_annotation", "instance_token", rows["instance_token"]
    )
    label_of = {name: label for label, name in enumerate(class_names)}
    names = categories["name"]
    labels = np.array([label_of.get(TRACKING_NAME.get(name, ""), -1) for name in names], np.int64)
    label = labels[category][instance]
    is_rack = np.array([name == BIKE_RACK for name in names], bool)[category][instance]

    tracked = np.flatnonzero(label >= 0)
    # Tracks are numbered as they occur in the table.
    found, first, number = np.unique(instance[tracked], return_index=True, return_inverse=True)
    by_occurrence = np.argsort(first)
    track = np.argsort(by_occurrence)[number]
    in_order = np.argsort(frame[tracked], kind="stable")
    tracked, track = tracked[in_order], track[in_order]
    table = BoxTable(
        frame=frame[tracked],
        track=track,
        label=label[tracked],
        num_pts=(rows["num_lidar_pts"] + rows["num_radar_pts"])[tracked],
        visibility=np.array([int(rows["visibility_token"][i] or 0) for i in tracked], np.int64),
        center=rows["translation"][tracked],
        shape=np.c_[rows["size"][tracked], yaw_from_quaternion(rows["rotation"][tracked])],
        score=np.full(len(tracked), -1.0),
        box_score=np.full(len(tracked), -1.0),
        velocity=np.full((len(tracked), 2), np.nan),
        interpolated=np.zeros(len(tracked), bool),
        forecast=None,
        track_names=instances["token"][found[by_occurrence]].astype(str).tolist(),
    )
    racks = np.flatnonzero(is_rack)
    racks = racks[np.argsort(frame[racks], kind="stable")]
    poses = (rows[name][racks] for name in ("translation", "size", "rotation"))
    return table, BikeRacks(frame[racks], *poses)
