"""Recordings as rows of the nuScenes tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pftrack.data.records import Pose, Recording
from pftrack.files import safe_name
from pftrack.nuscenes.facts import CATEGORIES, LIDAR
from pftrack.nuscenes.table_files import Table

VISIBLE = "4"  # token of the level 80-100 %


def token(*parts: object) -> str:
    """32 hexadecimal digits that stand for the parts."""
    text = "\0".join(map(str, parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def image_name(recording: Recording, camera: str, frame: int, source: Path) -> str:
    """Where an image lies in the dataset."""
    folder, name = safe_name(camera), safe_name(recording.name)
    return f"samples/{folder}/{name}__{frame:06d}{source.suffix.lower()}"


def fixed_tables(recordings: Sequence[Recording]) -> dict[str, Table]:
    """category, attribute, visibility, sensor and map."""
    cameras = dict.fromkeys(camera.name for r in recordings for camera in r.cameras)
    sensors = [*((name, "camera") for name in cameras), (LIDAR, "lidar")]
    return {
        "category": [
            {"token": token("category", name), "name": name, "description": "", "index": index}
            for index, name in enumerate(CATEGORIES.values())
        ],
        "attribute": [],
        "visibility": [
            {"token": str(i + 1), "level": level, "description": ""}
            for i, level in enumerate(("v0-40", "v40-60", "v60-80", "v80-100"))
        ],
        "sensor": [
            {"token": token("sensor", name), "channel": name, "modality": modality}
            for name, modality in sensors
        ],
        "map": [
            {
                "token": token("map"),
                "category": "",
                "filename": "maps/none.png",
                "log_tokens": [token(r.name, "log") for r in recordings],
            }
        ],
    }


def recording_tables(recording: Recording) -> dict[str, Table]:
    """log, scene, sample, calibrated_sensor, sample_data, ego_pose and the annotations of one."""
    name, frames = recording.name, recording.frames
    samples: Table = [
        {
            "token": token(name, "sample", number),
            "timestamp": _microseconds(frame.time),
            "scene_token": token(name, "scene"),
        }
        for number, frame in enumerate(frames)
    ]
    log = {"token": token(name, "log"), "logfile": name, "vehicle": "", "date_captured": ""}
    scene = {
        "token": token(name, "scene"),
        "log_token": log["token"],
        "nbr_samples": len(frames),
        "first_sample_token": samples[0]["token"],
        "last_sample_token": samples[-1]["token"],
        "name": name,
        "description": recording.description,
    }
    return {
        "log": [{**log, "location": recording.location}],
        "scene": [scene],
        "sample": _linked(samples),
        **_sensor_tables(recording, samples),
        **_annotation_tables(recording, samples),
    }


def _sensor_tables(recording: Recording, samples: Table) -> dict[str, Table]:
    """The lidar stands for the key frame itself: its pose and its time, and perhaps no file."""
    mounts: list[tuple[str, Pose, Any]] = [
        (camera.name, camera.camera2ego, camera.intrinsic) for camera in recording.cameras
    ]
    tables: dict[str, Table] = {"calibrated_sensor": [], "sample_data": [], "ego_pose": []}
    for channel, (rotation, translation), intrinsic in [*mounts, (LIDAR, recording.lidar2ego, ())]:
        calibration = token(recording.name, "calibrated_sensor", channel)
        tables["calibrated_sensor"].append(
            {
                "token": calibration,
                "sensor_token": token("sensor", channel),
                "translation": list(translation),
                "rotation": list(rotation),
                "camera_intrinsic": [list(row) for row in intrinsic],
            }
        )
        rows: Table = []
        for number, (frame, sample) in enumerate(zip(recording.frames, samples, strict=True)):
            if channel == LIDAR:
                file = f"samples/{LIDAR}/none"
            elif channel in frame.images:
                file = image_name(recording, channel, number, Path(frame.images[channel]))
            else:
                continue
            key = token(recording.name, "sample_data", channel, number)
            turn, place = frame.exposures.get(channel, frame.ego2global)
            tables["ego_pose"].append(
                {
                    "token": key,
                    "timestamp": sample["timestamp"],
                    "rotation": list(turn),
                    "translation": list(place),
                }
            )
            rows.append(
                {
                    "token": key,
                    "sample_token": sample["token"],
                    "ego_pose_token": key,
                    "calibrated_sensor_token": calibration,
                    "timestamp": sample["timestamp"],
                    "fileformat": file.rpartition(".")[2],
                    "is_key_frame": True,
                    "height": 0,
                    "width": 0,
                    "filename": file,
                }
            )
        tables["sample_data"] += _linked(rows)
    return tables


def _annotation_tables(recording: Recording, samples: Table) -> dict[str, Table]:
    """instance and sample_annotation, object by object."""
    rows_of: dict[tuple[str, str], Table] = {}
    for number, (frame, sample) in enumerate(zip(recording.frames, samples, strict=True)):
        for box in frame.boxes:
            rows_of.setdefault((box.id, box.name), []).append(
                {
                    "token": token(recording.name, "annotation", box.id, number),
                    "sample_token": sample["token"],
                    "instance_token": token(recording.name, "instance", box.id),
                    "visibility_token": VISIBLE,
                    "attribute_tokens": [],
                    "translation": list(box.center),
                    "size": list(box.size),
                    "rotation": list(box.rotation),
                    "num_lidar_pts": box.points,
                    "num_radar_pts": 0,
                }
            )
    instances: Table = [
        {
            "token": rows[0]["instance_token"],
            "category_token": token("category", CATEGORIES[name]),
            "nbr_annotations": len(rows),
            "first_annotation_token": rows[0]["token"],
            "last_annotation_token": rows[-1]["token"],
        }
        for (_, name), rows in rows_of.items()
    ]
    annotations = [row for rows in rows_of.values() for row in _linked(rows)]
    return {"instance": instances, "sample_annotation": annotations}


def _linked(rows: Table) -> Table:
    """The rows with ``prev`` and ``next``, in the order of time that they have."""
    tokens: Iterable[str] = ["", *(row["token"] for row in rows), ""]
    chain = list(tokens)
    for number, row in enumerate(rows):
        row["prev"], row["next"] = chain[number], chain[number + 2]
    return rows


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
