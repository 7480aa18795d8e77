"""Tables -> infos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pftrack import geometry
from pftrack.conversion.annotations import AnnotationConverter, Annotations
from pftrack.datasets.infos import Info
from pftrack.errors import UserError
from pftrack.nuscenes.facts import FUTURE_FRAMES, LIDAR
from pftrack.nuscenes.tables import Tables

MAX_SWEEPS = 10
_BLOCK = 500  # samples whose poses and boxes are computed together


class Converter:
    """Makes infos of one nuScenes version, poses and boxes of many samples at once.

    Args:
        root: folder that holds ``samples/``, as it shall appear in the infos' paths.
        annotations: False for the test split.
        forecasting: add the future of every object.
    """

    def __init__(
        self, tables: Tables, root: str | Path, annotations: bool = True, forecasting: bool = True
    ) -> None:
        self.tables = tables
        self.root = _portable_root(root)
        self.forecasting = forecasting
        data, sensor, ego = tables.sample_data, tables.calibrated_sensor, tables.ego_pose
        self.sensor2ego = geometry.pose_matrix(sensor["rotation"], sensor["translation"])
        self.ego2global = geometry.pose_matrix(ego["rotation"], ego["translation"])
        self.key_data = {name: self._key_rows(name) for name in (LIDAR, *tables.cameras)}
        lidar = self.key_data[LIDAR]
        lidar2ego = self.sensor2ego[data["calibrated_sensor_row"][lidar]]
        ego2global = self.ego2global[data["ego_pose_row"][lidar]]
        self.global2lidar = (geometry.invert_pose(ego2global), geometry.invert_pose(lidar2ego))
        blind = np.all([self.key_data[name] < 0 for name in tables.cameras], axis=0)
        if blind.any():
            token = tables.sample["token"][np.argmax(blind)].decode()
            raise UserError(f"table sample_data: sample '{token}' has no key frame of any camera")
        self.sweeps = self._sweep_rows(lidar)
        self.frame_idx = self._frame_numbers()
        self.annotations: AnnotationConverter | None = None
        if annotations:
            self.annotations = AnnotationConverter(tables, lidar2ego, ego2global)
            self.tokens = tables.sample_annotation["token"].astype(str)

    def samples_of(self, scenes: Iterable[str]) -> np.ndarray:
        """Rows of the samples of the named scenes, in the order of the table."""
        wanted = set(scenes)
        of_scene = np.array([name in wanted for name in self.tables.scene["name"]], dtype=bool)
        return np.flatnonzero(of_scene[self.tables.sample["scene_row"]])

    def infos(self, samples: np.ndarray) -> Iterable[Info]:
        """The infos of the given sample rows, one by one."""
        for start in range(0, len(samples), _BLOCK):
            yield from self._block(samples[start : start + _BLOCK])

    def _block(self, samples: np.ndarray) -> Iterator[Info]:
        # Row -1, of a camera without a key frame, gives a pose that nothing reads.
        cameras = {
            name: self._sensor2lidar(samples, self.key_data[name][samples])
            for name in self.tables.cameras
        }
        sweeps = [self._sensor2lidar(samples, rows) for rows in self.sweeps[:, samples]]
        annotations = None if self.annotations is None else self.annotations.convert(samples)
        for at, sample in enumerate(samples.tolist()):
            info = self._info(sample, at, cameras, sweeps)
            if annotations is not None:
                info.update(self._annotation_fields(annotations, at))
            yield info

    # ------------------------------------------------------------------ rows

    def _key_rows(self, channel: str) -> np.ndarray:
        """[S] ``sample_data`` row of each sample's key frame of a sensor."""
        data = self.tables.sample_data
        chosen = np.flatnonzero((data["channel"] == channel) & (data["is_key_frame"] == 1))
        rows = np.full(len(self.tables.sample["token"]), -1)
        rows[data["sample_row"][chosen]] = chosen
        lacking = np.flatnonzero(rows < 0)
        if len(lacking) and channel != LIDAR:
            if len(lacking) < len(rows):
                print(f"{channel} has no key frame in {len(lacking)} of {len(rows)} samples")
        elif len(lacking):
            token = self.tables.sample["token"][lacking[0]].decode()
            raise UserError(
                f"table sample_data: sample '{token}' has no key frame of {channel} "
                f"({len(lacking)} such samples): the nuScenes metadata is incomplete"
            )
        return rows

    def _sweep_rows(self, lidar: np.ndarray) -> np.ndarray:
        """[10, S] rows of the lidar sweeps before each key frame, newest first; -1: none."""
        previous = np.append(self.tables.sample_data["prev_row"], -1)  # so that row -1 leads to -1
        rows = [lidar]
        for _ in range(MAX_SWEEPS):
            rows.append(previous[rows[-1]])
        return np.stack(rows[1:])

    def _frame_numbers(self) -> np.ndarray:
        """[S] position of each sample in its scene."""
        scene, time = self.tables.sample["scene_row"], self.tables.sample["timestamp"]
        order = np.lexsort((time, scene))
        first = np.searchsorted(scene[order], scene[order])
        numbers = np.empty(len(order), dtype=np.int64)
        numbers[order] = np.arange(len(order)) - first
        return numbers

    # ------------------------------------------------------------------ infos

    def _sensor2lidar(self, samples: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """[n, 4, 4] poses of sensors at their exposure in the lidar frames of ``samples``."""
        data = self.tables.sample_data
        to_ego, to_lidar = (pose[samples] for pose in self.global2lidar)
        sensor2ego = self.sensor2ego[data["calibrated_sensor_row"][rows]]
        return to_lidar @ (to_ego @ self.ego2global[data["ego_pose_row"][rows]] @ sensor2ego)

    def _info(
        self, sample: int, at: int, cameras: dict[str, np.ndarray], sweeps: list[np.ndarray]
    ) -> Info:
        table = self.tables.sample
        lidar = int(self.key_data[LIDAR][sample])
        pose = self._poses(lidar)
        info: Info = {
            "lidar_path": self._path(lidar),
            "token": table["token"][sample].decode(),
            "sweeps": [
                self._sensor(int(rows[sample]), "lidar", poses[at])
                for rows, poses in zip(self.sweeps, sweeps, strict=True)
                if rows[sample] >= 0
            ],
            "cams": {},
            "radars": {},
            "lidar2ego_translation": pose["sensor2ego_translation"],
            "lidar2ego_rotation": pose["sensor2ego_rotation"],
            "ego2global_translation": pose["ego2global_translation"],
            "ego2global_rotation": pose["ego2global_rotation"],
            "timestamp": int(table["timestamp"][sample]),
            "scene_token": self.tables.scene["token"][table["scene_row"][sample]].decode(),
            "frame_idx": int(self.frame_idx[sample]),
        }
        for name in self.tables.cameras:
            row = int(self.key_data[name][sample])
            if row < 0:
                continue
            camera = self._sensor(row, name, cameras[name][at])
            calibrated = self.tables.sample_data["calibrated_sensor_row"][row]
            intrinsic = self.tables.calibrated_sensor["camera_intrinsic"][calibrated]
            camera["cam_intrinsic"] = np.array(intrinsic, dtype=np.float64)
            info["cams"][name] = camera
        return info

    def _path(self, row: int) -> str:
        return f"{self.root}/{self.tables.sample_data['filename'][row]}"

    def _poses(self, row: int) -> dict[str, Any]:
        data, sensor, ego = (
            self.tables.sample_data,
            self.tables.calibrated_sensor,
            self.tables.ego_pose,
        )
        calibrated, pose = data["calibrated_sensor_row"][row], data["ego_pose_row"][row]
        return {
            "sensor2ego_translation": sensor["translation"][calibrated].tolist(),
            "sensor2ego_rotation": sensor["rotation"][calibrated].tolist(),
            "ego2global_translation": ego["translation"][pose].tolist(),
            "ego2global_rotation": ego["rotation"][pose].tolist(),
        }

    def _sensor(self, row: int, kind: str, sensor2lidar: np.ndarray) -> dict[str, Any]:
        data = self.tables.sample_data
        return {
            "data_path": self._path(row),
            "type": kind,
            "sample_data_token": data["token"][row].decode(),
            **self._poses(row),
            "timestamp": int(data["timestamp"][row]),
            "sensor2lidar_rotation": sensor2lidar[:3, :3].copy(),
            "sensor2lidar_translation": sensor2lidar[:3, 3].copy(),
        }

    def _annotation_fields(self, annotations: Annotations, at: int) -> dict[str, Any]:
        part = annotations.slices[at]
        table, rows = self.tables.sample_annotation, annotations.row[part]
        fields: dict[str, Any] = {
            "gt_boxes": annotations.boxes[part],
            "gt_names": np.array(annotations.names[part], dtype=np.str_),
            "gt_velocity": annotations.velocity[part],
            "num_lidar_pts": table["num_lidar_pts"][rows],
            "num_radar_pts": table["num_radar_pts"][rows],
            "valid_flag": annotations.valid[part],
            "instance_inds": table["instance_row"][rows].tolist(),
        }
        if self.forecasting:
            types = annotations.future_type[part]
            fields |= {
                "forecasting_locs": annotations.future_locs[part],
                "forecasting_tokens": self.tokens[annotations.future[part]],
                "forecasting_masks": annotations.future_mask[part],
                "forecasting_types": np.repeat(types[:, None], FUTURE_FRAMES, axis=1),
            }
        return fields


def _portable_root(root: str | Path) -> str:
    """Relative to the working directory when below it, as users move such folders."""
    path = Path(root)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return path.as_posix()
