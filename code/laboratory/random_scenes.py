"""Random nuScenes tables and tracking results of any size, for tests and benchmarks.

Not a picture of the world: objects wander around an ego vehicle, and the "tracker" sees them with
noise, gaps, identity switches, wrong classes, ghosts and ties, so that every branch of the metrics
is exercised. The tables load in the unmodified devkit; there are no sensor files.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pftrack.files import atomic
from pftrack.nuscenes.facts import CATEGORIES, KEY_FRAME_SECONDS, LIDAR
from pftrack.nuscenes.table_files import write_tables

_SHARE = np.array([0.42, 0.12, 0.04, 0.05, 0.05, 0.05, 0.27])
_NAMES = ["car", "truck", "bus", "trailer", "motorcycle", "bicycle", "pedestrian"]
_TABLES = (
    *("category", "attribute", "visibility", "instance", "sensor", "calibrated_sensor"),
    *("ego_pose", "log", "scene", "sample", "sample_data", "sample_annotation", "map"),
)
_MAP_FILE = "maps/placeholder.png"  # the devkit only looks whether it exists


@dataclass(frozen=True)
class RandomScenesConfig:
    """What to generate.

    Attributes:
        scene_names: one scene each.  frames: key frames per scene.
        objects: mean number of ground-truth tracks per scene.
        ghosts: mean number of false tracks per scene.
        classes: tracking names that occur in the ground truth.
        ties: rounds scores and places boxes on top of each other, for equal costs and scores.
        origin: about where the scenes lie in the map, m.
    """

    scene_names: tuple[str, ...]
    frames: int = 20
    objects: float = 12.0
    ghosts: float = 6.0
    classes: tuple[str, ...] = tuple(_NAMES)
    ties: bool = False
    origin: float = 1000.0


def write_random_scenes(
    root: str | Path, version: str, config: RandomScenesConfig, seed: int
) -> Path:
    """Write ``<root>/<version>/*.json`` and ``<root>/results.json``; return the latter's path."""
    root = Path(root)
    tables = _Tables(config, seed)
    write_tables(root / version, [tables.tables])
    (root / _MAP_FILE).parent.mkdir(exist_ok=True)
    (root / _MAP_FILE).touch()
    result = root / "results.json"
    content = {"meta": {"use_camera": True, "use_lidar": False}, "results": tables.results}
    with atomic(result) as file:
        file.write(json.dumps(content))  # json.dump would be far slower
    return result


def _token(*parts: object) -> str:
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


class _Tables:
    def __init__(self, config: RandomScenesConfig, seed: int):
        self.config = config
        self.rng = np.random.default_rng(seed)
        self.seed = seed
        self.tables: dict[str, list[dict[str, Any]]] = {name: [] for name in _TABLES}
        self.results: dict[str, list[dict[str, Any]]] = {}
        t = self.tables
        others = ("static_object.bicycle_rack", "movable_object.barrier")
        for name in dict.fromkeys((*CATEGORIES.values(), *others)):
            t["category"].append({"token": _token("category", name), "name": name, "index": 0})
        for level in range(1, 5):
            t["visibility"].append({"token": str(level), "level": f"v{level}", "description": ""})
        t["sensor"].append({"token": _token("lidar"), "channel": LIDAR, "modality": "lidar"})
        t["calibrated_sensor"].append(
            {
                "token": _token("mount"),
                "sensor_token": _token("lidar"),
                "translation": [0.0, 0.0, 1.8],
                "rotation": [1.0, 0.0, 0.0, 0.0],
                "camera_intrinsic": [],
            }
        )
        log = {"token": _token("log"), "logfile": "", "vehicle": "", "date_captured": ""}
        t["log"].append({**log, "location": "singapore-onenorth", "map_token": ""})
        mask = {"token": _token("map"), "category": "", "filename": _MAP_FILE}
        t["map"].append({**mask, "log_tokens": [_token("log")]})
        for name in config.scene_names:
            self._scene(name)

    def _scene(self, name: str) -> None:
        rng, config, t = self.rng, self.config, self.tables
        count = config.frames
        tokens = [_token(self.seed, name, k) for k in range(count)]
        times = np.cumsum(rng.integers(450_000, 550_000, count)) + 1_500_000_000_000_000
        ego = config.origin * rng.uniform(0.5, 2, 2) + np.cumsum(rng.normal(1, 1, (count, 2)), 0)
        t["scene"].append(
            {
                "token": _token(self.seed, name),
                "log_token": _token("log"),
                "nbr_samples": count,
                "first_sample_token": tokens[0],
                "last_sample_token": tokens[-1],
                "name": name,
                "description": "",
            }
        )
        for k, token in enumerate(tokens):
            t["sample"].append(
                {
                    "token": token,
                    "timestamp": int(times[k]),
                    "prev": tokens[k - 1] if k else "",
                    "next": tokens[k + 1] if k + 1 < count else "",
                    "scene_token": _token(self.seed, name),
                }
            )
            t["ego_pose"].append(
                {
                    "token": _token(token, "pose"),
                    "timestamp": int(times[k]),
                    "rotation": [1.0, 0.0, 0.0, 0.0],
                    "translation": [*map(float, ego[k]), 0.0],
                }
            )
            t["sample_data"].append(
                {
                    "token": _token(token, "lidar"),
                    "sample_token": token,
                    "ego_pose_token": _token(token, "pose"),
                    "calibrated_sensor_token": _token("mount"),
                    "timestamp": int(times[k]),
                    "fileformat": "pcd",
                    "is_key_frame": True,
                    "height": 0,
                    "width": 0,
                    "filename": f"samples/LIDAR_TOP/{token}.bin",
                    "prev": "",
                    "next": "",
                }
            )
            self.results[token] = []
        objects = [
            self._object(name, f"o{i}", tokens, ego) for i in range(1 + rng.poisson(config.objects))
        ]
        for _ in range(rng.poisson(0.5)):
            self._rack(name, tokens, ego)
        self._predictions(name, tokens, ego, objects)

    def _object(
        self, scene: str, name: str, tokens: list[str], ego: np.ndarray
    ) -> tuple[str, np.ndarray, np.ndarray]:
        """Add an instance; return its class, frames [m] and path [m, 2]."""
        rng = self.rng
        share = _SHARE * np.isin(_NAMES, self.config.classes)
        cls = str(rng.choice(_NAMES, p=share / share.sum()))
        first = int(rng.integers(0, max(1, len(tokens) - 2)))
        last = int(rng.integers(first + 1, len(tokens) + 1))
        frames = np.arange(first, last)
        frames = frames[(rng.random(len(frames)) > 0.03) | (frames == first)]
        start = ego[first] + rng.uniform(-45, 45, 2)
        speed = rng.normal(0, 3, 2) * (rng.random() < 0.6)
        path = start + np.outer(frames - first, speed * KEY_FRAME_SECONDS)
        self._annotate(
            _token(self.seed, scene, name),
            CATEGORIES[cls],
            [tokens[k] for k in frames],
            [
                {
                    "visibility_token": str(rng.integers(1, 5)),
                    "translation": [*map(float, position), 1.0],
                    "size": [2.0, 4.5, 1.6],
                    "rotation": [1.0, 0.0, 0.0, 0.0],
                    "num_lidar_pts": int(rng.integers(0, 12)),
                    "num_radar_pts": int(rng.integers(0, 2)),
                }
                for position in path
            ],
        )
        return cls, frames, path

    def _rack(self, scene: str, tokens: list[str], ego: np.ndarray) -> None:
        rng = self.rng
        instance = _token(self.seed, scene, "rack", rng.integers(1 << 30))
        yaw = rng.uniform(-np.pi, np.pi)
        centre = ego[0] + rng.uniform(-30, 30, 2)
        row = {
            "visibility_token": "4",
            "translation": [*map(float, centre), 1.0],
            "size": [12.0, 25.0, 3.0],
            "rotation": [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))],
            "num_lidar_pts": 5,
            "num_radar_pts": 0,
        }
        self._annotate(instance, "static_object.bicycle_rack", tokens, [row] * len(tokens))

    def _annotate(
        self, instance: str, category: str, samples: list[str], rows: list[dict[str, Any]]
    ) -> None:
        """Add an instance and its annotations, one for each of the samples, in their order."""
        names = [_token(instance, sample) for sample in samples]
        self.tables["instance"].append(
            {
                "token": instance,
                "category_token": _token("category", category),
                "nbr_annotations": len(names),
                "first_annotation_token": names[0],
                "last_annotation_token": names[-1],
            }
        )
        for i, (sample, row) in enumerate(zip(samples, rows, strict=True)):
            self.tables["sample_annotation"].append(
                {
                    "token": names[i],
                    "sample_token": sample,
                    "instance_token": instance,
                    "attribute_tokens": [],
                    "prev": names[i - 1] if i else "",
                    "next": names[i + 1] if i + 1 < len(names) else "",
                    **row,
                }
            )

    def _predictions(
        self,
        scene: str,
        tokens: list[str],
        ego: np.ndarray,
        objects: list[tuple[str, np.ndarray, np.ndarray]],
    ) -> None:
        """Noisy copies of the objects, and ghosts."""
        rng, config = self.rng, self.config
        numbers = iter(range(1 << 30))
        for cls, frames, path in objects:
            if rng.random() < 0.1:
                continue
            noise = rng.choice([0.0, 0.3, 0.9])
            if config.ties and rng.random() < 0.5:
                noise = 0.0
            for _ in range(1 + (rng.random() < 0.25)):  # now and then two tracks of one object
                track = next(numbers)
                level = rng.uniform(0.1, 0.9)
                name = cls if rng.random() > 0.05 else str(rng.choice(_NAMES))
                for k, xy in zip(frames, path, strict=True):
                    if rng.random() < 0.04:  # identity switch
                        track = next(numbers)
                    if rng.random() < 0.02:  # the class changes, the identity stays
                        name = str(rng.choice(_NAMES))
                    if rng.random() < 0.12:
                        continue
                    self._box(tokens[k], scene, track, name, xy + rng.normal(0, noise, 2), level)
        for _ in range(rng.poisson(config.ghosts)):
            track, level = next(numbers), rng.uniform(0.05, 0.6)
            name = str(rng.choice(_NAMES))
            first = int(rng.integers(0, len(tokens)))
            xy = ego[first] + rng.uniform(-60, 60, 2)
            if objects and rng.random() < 0.6:
                xy = objects[int(rng.integers(len(objects)))][2][0] + rng.normal(0, 1, 2)
            for k in range(first, min(len(tokens), first + int(rng.integers(1, 15)))):
                if rng.random() < 0.9:
                    self._box(tokens[k], scene, track, name, xy, level)
                xy = xy + rng.normal(0, 0.5, 2)

    def _box(
        self, token: str, scene: str, track: int, name: str, xy: np.ndarray, level: float
    ) -> None:
        rng, ties = self.rng, self.config.ties
        score = min(max(level + rng.normal(0, 0.05), 0.01), 0.99)
        score = round(score, 1) if ties else score
        if ties:
            xy = np.round(xy * 2) / 2
        self.results[token].append(
            {
                "sample_token": token,
                "translation": [float(xy[0]), float(xy[1]), 1.0],
                "size": [2.0, 4.5, 1.6],
                "rotation": [1.0, 0.0, 0.0, 0.0],
                "velocity": [float(v) for v in rng.normal(0, 1, 2)],
                "tracking_id": f"{scene}-{track}",
                "tracking_name": name,
                "tracking_score": score,
                "forecasting": rng.normal(0, 0.5, (8, 2)).round(3).tolist(),
            }
        )
