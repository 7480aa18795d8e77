"""The thirteen nuScenes tables of generated scenes.

Schema: nuScenes v1.0 (``docs/schema_nuscenes.md`` of the devkit).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from laboratory.demo_data.rig import CAMERA_NAMES, quaternion, yaw_matrix
from laboratory.demo_data.scene import FrameRecord, ScenePlan
from pftrack.nuscenes.facts import CATEGORIES, LIDAR
from pftrack.nuscenes.table_files import Table

LOCATION = "boston-seaport"
OTHER_CATEGORIES = (
    "human.pedestrian.child",
    "human.pedestrian.wheelchair",
    "human.pedestrian.stroller",
    "human.pedestrian.personal_mobility",
    "human.pedestrian.police_officer",
    "human.pedestrian.construction_worker",
    "animal",
    "vehicle.bus.bendy",
    "vehicle.emergency.ambulance",
    "vehicle.emergency.police",
    "movable_object.pushable_pullable",
    "movable_object.debris",
    "static_object.bicycle_rack",
)
ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "pedestrian.moving",
)
VISIBILITY_LEVELS = ("v0-40", "v40-60", "v60-80", "v80-100")
VISIBILITY_EDGES = (0.4, 0.6, 0.8)


def token(*parts: object) -> str:
    """32 hexadecimal digits that stand for the parts."""
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def fixed_tables(cameras: Sequence[str] = CAMERA_NAMES) -> dict[str, Table]:
    """category, attribute, visibility and sensor: the same in every dataset."""
    names = [*CATEGORIES.values(), *OTHER_CATEGORIES]
    channels = [(name, "camera") for name in cameras] + [(LIDAR, "lidar")]
    return {
        "category": [{"token": token("category", n), "name": n, "description": ""} for n in names],
        "attribute": [
            {"token": token("attribute", n), "name": n, "description": ""} for n in ATTRIBUTES
        ],
        "visibility": [
            {
                "token": str(i + 1),
                "level": level,
                "description": f"share of visible pixels in percent: {level[1:]}",
            }
            for i, level in enumerate(VISIBILITY_LEVELS)
        ],
        "sensor": [
            {"token": token("sensor", name), "channel": name, "modality": modality}
            for name, modality in channels
        ],
    }


def link(records: Table) -> None:
    """Fill ``prev`` and ``next`` of records in order of time."""
    for before, after in zip([None, *records], [*records, None], strict=True):
        if before is not None:
            before["next"] = after["token"] if after else ""
        if after is not None:
            after["prev"] = before["token"] if before else ""


def visibility_token(visible: int, covered: int) -> str:
    """Token of the level of ``visible / covered``; the lowest where no camera sees the place."""
    share = visible / covered if covered else 0.0
    return str(1 + int(np.searchsorted(VISIBILITY_EDGES, share, side="right")))


def annotated_frames(records: list[FrameRecord], agent: int) -> list[int]:
    """Frames an agent is annotated in: within range, from its first to its last lidar point."""
    hit = [f for f, r in enumerate(records) if r.in_range[agent] and r.points[agent] > 0]
    if not hit:
        return []
    return [f for f in range(hit[0], hit[-1] + 1) if records[f].in_range[agent]]


def scene_tables(plan: ScenePlan, records: list[FrameRecord]) -> dict[str, Table]:
    """log, scene, calibrated_sensor, sample, sample_data, ego_pose, instance and
    sample_annotation rows of one scene."""
    base = (plan.seed, plan.name)
    frames = range(plan.num_frames)
    log = {
        "token": token(*base, "log"),
        "logfile": plan.logfile,
        "vehicle": "demo",
        "date_captured": "2018-07-24",
        "location": LOCATION,
    }
    samples: Table = [
        {
            "token": token(*base, "sample", f),
            "timestamp": plan.timestamp(f),
            "scene_token": token(*base, "scene"),
        }
        for f in frames
    ]
    link(samples)
    scene = {
        "token": token(*base, "scene"),
        "log_token": log["token"],
        "nbr_samples": plan.num_frames,
        "first_sample_token": samples[0]["token"],
        "last_sample_token": samples[-1]["token"],
        "name": plan.name,
        "description": _describe(plan),
    }
    tables = _annotation_tables(plan, records, samples)
    tables |= _sensor_tables(plan, samples)
    return tables | {"log": [log], "scene": [scene], "sample": samples}


def _describe(plan: ScenePlan) -> str:
    names = [agent.name.replace("_", " ") for agent in plan.agents]
    counts = sorted(((names.count(n), n) for n in set(names)), reverse=True)
    return "Generated: " + ", ".join(f"{count} {name}" for count, name in counts)


def _sensor_tables(plan: ScenePlan, samples: Table) -> dict[str, Table]:
    """calibrated_sensor, sample_data and ego_pose."""
    calibrated: Table = []
    sample_data: Table = []
    ego_pose: Table = []
    rig: list[tuple[str, Any, int]] = [(c.name, c, c.delay) for c in plan.cameras]
    for channel, sensor, delay in [*rig, (LIDAR, plan.lidar, 0)]:
        is_camera = channel != LIDAR
        calibration = {
            "token": token(plan.seed, plan.name, "calibrated_sensor", channel),
            "sensor_token": token("sensor", channel),
            "translation": sensor.translation.tolist(),
            "rotation": quaternion(sensor.rotation),
            "camera_intrinsic": sensor.intrinsic.tolist() if is_camera else [],
        }
        calibrated.append(calibration)
        rows: Table = []
        for frame, sample in enumerate(samples):
            x, y, yaw = plan.ego_pose(frame, delay)
            stamp = plan.timestamp(frame) + delay
            key = token(plan.seed, plan.name, channel, frame)
            ego_pose.append(
                {
                    "token": key,
                    "timestamp": stamp,
                    "rotation": quaternion(yaw_matrix(yaw)),
                    "translation": [float(x), float(y), 0.0],
                }
            )
            rows.append(
                {
                    "token": key,
                    "sample_token": sample["token"],
                    "ego_pose_token": key,
                    "calibrated_sensor_token": calibration["token"],
                    "timestamp": stamp,
                    "fileformat": "jpg" if is_camera else "pcd",
                    "is_key_frame": True,
                    "height": sensor.size[1] if is_camera else 0,
                    "width": sensor.size[0] if is_camera else 0,
                    "filename": plan.filename(channel, frame, delay),
                }
            )
        link(rows)
        sample_data.extend(rows)
    return {"calibrated_sensor": calibrated, "sample_data": sample_data, "ego_pose": ego_pose}


def _annotation_tables(
    plan: ScenePlan, records: list[FrameRecord], samples: Table
) -> dict[str, Table]:
    """instance and sample_annotation."""
    instances: Table = []
    annotations: Table = []
    boxes = [plan.boxes(frame) for frame in range(plan.num_frames)]
    for index, agent in enumerate(plan.agents):
        rows: Table = []
        instance_token = token(plan.seed, plan.name, "instance", index)
        for frame in annotated_frames(records, index):
            centres, sizes, yaws = boxes[frame]
            record = records[frame]
            attribute = agent.attribute[frame]
            rows.append(
                {
                    "token": token(plan.seed, plan.name, "annotation", index, frame),
                    "sample_token": samples[frame]["token"],
                    "instance_token": instance_token,
                    "visibility_token": visibility_token(
                        int(record.visible[index]), int(record.covered[index])
                    ),
                    "attribute_tokens": [token("attribute", attribute)] if attribute else [],
                    "translation": centres[index].tolist(),
                    "size": sizes[index].tolist(),
                    "rotation": quaternion(yaw_matrix(yaws[index])),
                    "num_lidar_pts": int(record.points[index]),
                    "num_radar_pts": 0,
                }
            )
        if not rows:
            continue
        link(rows)
        annotations.extend(rows)
        instances.append(
            {
                "token": instance_token,
                "category_token": token("category", CATEGORIES[agent.name]),
                "nbr_annotations": len(rows),
                "first_annotation_token": rows[0]["token"],
                "last_annotation_token": rows[-1]["token"],
            }
        )
    return {"instance": instances, "sample_annotation": annotations}
