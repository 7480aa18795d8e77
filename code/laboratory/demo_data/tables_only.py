"""nuScenes tables of any size without sensor files, for measuring the info converter.

At full size (34,149 samples) the row counts are those of nuScenes trainval: 1.17 M annotations of
64,000 instances, 2.6 M sample_data and ego_pose rows over twelve sensors with their sweeps.
Objects drive straight or along arcs; nothing is rendered and no file is listed that exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from laboratory.demo_data.rig import (
    build_cameras,
    build_lidar,
    quaternion,
)
from laboratory.demo_data.shapes import SIZES
from laboratory.demo_data.tables import fixed_tables, token
from pftrack.nuscenes.facts import CATEGORIES, KEY_FRAME_SECONDS, LIDAR
from pftrack.nuscenes.table_files import Table

TRAINVAL_SAMPLES = 34_149
INSTANCES_PER_SCENE = 76
MEAN_TRACK = 18  # annotations of an instance
PERIOD = int(KEY_FRAME_SECONDS * 1e6)  # us between key frames
RADAR_NAMES = (
    "RADAR_FRONT",
    "RADAR_FRONT_LEFT",
    "RADAR_FRONT_RIGHT",
    "RADAR_BACK_LEFT",
    "RADAR_BACK_RIGHT",
)
# records per key frame period: cameras 12 Hz, lidar 20 Hz, radars about 13 Hz
RECORDS = {"camera": 6, "lidar": 10, "radar": 6}
CLASS_SHARE = {
    "car": 0.42, "pedestrian": 0.19, "barrier": 0.13, "traffic_cone": 0.08, "truck": 0.08,
    "trailer": 0.02, "bus": 0.02, "construction_vehicle": 0.02, "motorcycle": 0.02,
    "bicycle": 0.02,
}  # fmt: skip
ATTRIBUTE_OF = {"pedestrian": "pedestrian.moving", "motorcycle": "cycle.with_rider",
                "bicycle": "cycle.with_rider", "barrier": "", "traffic_cone": ""}  # fmt: skip


def scene_lengths(num_samples: int) -> list[int]:
    """Samples of each scene: about 40, together ``num_samples``."""
    scenes = max(round(num_samples / (TRAINVAL_SAMPLES / 850)), 1)
    return [len(part) for part in np.array_split(np.arange(num_samples), scenes)]


def table_chunks(num_samples: int, seed: int = 0) -> Iterator[dict[str, Table]]:
    """The tables in pieces: what all scenes share, then each scene's rows.

    A scene's ``log`` row is in its piece; the ``map`` row is in the first one and refers to all.
    """
    from nuscenes.utils.splits import create_splits_scenes

    official = create_splits_scenes()
    lengths = scene_lengths(num_samples)
    train, val = sorted(official["train"]), sorted(official["val"])
    names = []
    for i in range(len(lengths)):  # validation scenes spread evenly: small sizes have some too
        before, after = (n * len(val) // (len(train) + len(val)) for n in (i, i + 1))
        names.append(val[before] if after > before else train[i - before])
    first = fixed_tables()
    first["sensor"] = first["sensor"] + [
        {"token": token("sensor", name), "channel": name, "modality": "radar"}
        for name in RADAR_NAMES
    ]
    first["map"] = [
        {
            "token": token("tables", seed, "map"),
            "log_tokens": [token("tables", seed, name, "log") for name in names],
            "category": "semantic_prior",
            "filename": "maps/none.png",
        }
    ]
    yield first
    for index, (name, length) in enumerate(zip(names, lengths, strict=True)):
        yield _scene_chunk(index, name, length, seed)


def _scene_chunk(index: int, name: str, length: int, seed: int) -> dict[str, Table]:
    rng = np.random.default_rng([seed, 30, index])
    log, scene = token("tables", seed, name, "log"), token("tables", seed, name, "scene")
    start = 1_530_000_000_000_000 + index * 60_000_000
    tokens = [_token("5", index, i) for i in range(length)]
    samples: Table = [
        {
            "token": tokens[i],
            "timestamp": start + i * PERIOD,
            "prev": tokens[i - 1] if i else "",
            "next": tokens[i + 1] if i + 1 < length else "",
            "scene_token": scene,
        }
        for i in range(length)
    ]
    chunk = _sensor_rows(rng, index, tokens, start, name)
    chunk |= _annotation_rows(rng, index, tokens)
    chunk["sample"] = samples
    chunk["log"] = [
        {
            "token": log,
            "logfile": f"tables-{name}",
            "vehicle": "demo",
            "date_captured": "2018-07-24",
            "location": "boston-seaport",
        }
    ]
    chunk["scene"] = [
        {
            "token": scene,
            "log_token": log,
            "nbr_samples": length,
            "first_sample_token": tokens[0],
            "last_sample_token": tokens[-1],
            "name": name,
            "description": "tables only",
        }
    ]
    return chunk


def _token(kind: str, index: int, item: int) -> str:
    """32 hexadecimal digits, unique for kind (one digit), scene and item."""
    return f"{kind}{index:015x}{item:016x}"


def _arc(
    times: np.ndarray, origin: np.ndarray, heading: float, speed: float, turn: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positions [n, 3] and quaternions [n, 4] wxyz at ``times`` s of a drive along an arc."""
    yaw = heading + turn * times
    radius = speed / turn
    x = radius * (np.sin(yaw) - np.sin(heading))
    y = radius * (np.cos(heading) - np.cos(yaw))
    position = np.stack([x, y, np.zeros_like(x)], -1) + origin
    zero = np.zeros_like(yaw)
    return position, np.stack([np.cos(yaw / 2), zero, zero, np.sin(yaw / 2)], -1)


def _sensor_rows(
    rng: np.random.Generator, index: int, samples: list[str], start: int, name: str
) -> dict[str, Table]:
    """calibrated_sensor, sample_data and ego_pose of a scene."""
    origin = np.r_[rng.uniform(500, 1500, 2), 0.0]
    speed, turn = rng.uniform(2, 10), rng.uniform(0.01, 0.08)
    cameras, lidar = build_cameras(rng, (1600, 900)), build_lidar(rng)
    rig: list[tuple[str, str, Any, int]] = [(c.name, "camera", c, c.delay) for c in cameras]
    rig.append((LIDAR, "lidar", lidar, 0))
    rig += [(radar, "radar", lidar, 20_000) for radar in RADAR_NAMES]
    calibrated: Table = []
    sample_data: Table = []
    ego_pose: Table = []
    for channel, modality, sensor, delay in rig:
        is_camera = modality == "camera"
        calibration = _token("c", index, len(calibrated))
        calibrated.append(
            {
                "token": calibration,
                "sensor_token": token("sensor", channel),
                "translation": sensor.translation.tolist(),
                "rotation": quaternion(sensor.rotation),
                "camera_intrinsic": sensor.intrinsic.tolist() if is_camera else [],
            }
        )
        per_period = RECORDS[modality]
        count = len(samples) * per_period
        stamps = (start + delay + np.arange(count) * (PERIOD / per_period)).astype(np.int64)
        position, rotation = _arc((stamps - start) / 1e6, origin, 0.0, speed, turn)
        base = len(sample_data)
        ids = [_token("d", index, base + i) for i in range(count)]
        ending = {"camera": "jpg", "lidar": "pcd.bin", "radar": "pcd"}[modality]
        height, width = (900, 1600) if is_camera else (0, 0)
        ego_pose.extend(
            {"token": i, "timestamp": t, "rotation": r, "translation": p}
            for i, t, r, p in zip(
                ids, stamps.tolist(), rotation.tolist(), position.tolist(), strict=True
            )
        )
        sample_data.extend(
            {
                "token": ids[i],
                # a sweep belongs to the next key frame
                "sample_token": samples[min(-(-i // per_period), len(samples) - 1)],
                "ego_pose_token": ids[i],
                "calibrated_sensor_token": calibration,
                "timestamp": t,
                "fileformat": "jpg" if is_camera else "pcd",
                "is_key_frame": i % per_period == 0,
                "height": height,
                "width": width,
                "filename": f"{'sweeps' if i % per_period else 'samples'}/{channel}/"
                f"{name}__{channel}__{t}.{ending}",
                "prev": ids[i - 1] if i else "",
                "next": ids[i + 1] if i + 1 < count else "",
            }
            for i, t in enumerate(stamps.tolist())
        )
    return {"calibrated_sensor": calibrated, "sample_data": sample_data, "ego_pose": ego_pose}


def _annotation_rows(rng: np.random.Generator, index: int, samples: list[str]) -> dict[str, Table]:
    """instance and sample_annotation of a scene."""
    length = len(samples)
    names = rng.choice(list(CLASS_SHARE), INSTANCES_PER_SCENE, p=_normalised(CLASS_SHARE))
    spread = rng.integers(2, 2 * MEAN_TRACK - 1, INSTANCES_PER_SCENE)
    lengths = np.minimum(spread, length)
    firsts = (rng.random(INSTANCES_PER_SCENE) * (length - lengths + 1)).astype(int)
    instances: Table = []
    annotations: Table = []
    for i, name in enumerate(names.tolist()):
        count, first = int(lengths[i]), int(firsts[i])
        times = np.arange(count) * KEY_FRAME_SECONDS
        moving = name not in ("barrier", "traffic_cone") and rng.random() < 0.5
        speed, turn = (rng.uniform(1, 10), rng.uniform(0.005, 0.2)) if moving else (0.0, 1e-9)
        origin = np.r_[rng.uniform(450, 1550, 2), rng.uniform(0.4, 1.6)]
        position, rotation = _arc(times, origin, rng.uniform(-3, 3), speed, turn)
        size = (np.array(SIZES[name]) * rng.uniform(0.9, 1.1, 3)).round(3).tolist()
        attribute = ATTRIBUTE_OF.get(name, "vehicle.moving" if moving else "vehicle.parked")
        attributes = [token("attribute", attribute)] if attribute else []
        points = rng.poisson(12, count).tolist()
        visibility = rng.integers(1, 5, count).tolist()
        base = len(annotations)
        ids = [_token("a", index, base + k) for k in range(count)]
        instance = _token("1", index, i)
        annotations.extend(
            {
                "token": ids[k],
                "sample_token": samples[first + k],
                "instance_token": instance,
                "visibility_token": str(visibility[k]),
                "attribute_tokens": attributes,
                "translation": p,
                "size": size,
                "rotation": r,
                "prev": ids[k - 1] if k else "",
                "next": ids[k + 1] if k + 1 < count else "",
                "num_lidar_pts": points[k],
                "num_radar_pts": 0,
            }
            for k, (p, r) in enumerate(zip(position.tolist(), rotation.tolist(), strict=True))
        )
        instances.append(
            {
                "token": instance,
                "category_token": token("category", CATEGORIES[name]),
                "nbr_annotations": count,
                "first_annotation_token": ids[0],
                "last_annotation_token": ids[-1],
            }
        )
    return {"instance": instances, "sample_annotation": annotations}


def _normalised(shares: dict[str, float]) -> np.ndarray:
    values = np.array(list(shares.values()))
    return values / values.sum()
