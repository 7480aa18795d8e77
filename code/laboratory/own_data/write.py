"""A generated dataset as a robot would have recorded it, or in the format of KITTI or Argoverse 2.

python -m laboratory.own_data.write {folder,kitti,argoverse} DATASET OUT
"""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pftrack import geometry
from pftrack.arguments import Parser
from pftrack.data import argoverse, kitti
from pftrack.datasets.infos import Info, load_infos
from pftrack.errors import run_cli
from pftrack.nuscenes.facts import CLASSES
from pftrack.nuscenes.versions import MINI, info_file_name
from pftrack.visualization.scenes import SceneFrames, load_scenes

LATITUDE, LONGITUDE = 49.0, 8.4  # degrees, where the drives of the KITTI format begin
REPEATS = 5  # frames of 10 Hz for each key frame


def scenes_of(root: Path) -> list[SceneFrames]:
    """All scenes of a generated v1.0-mini with info files."""
    paths = [root / info_file_name(MINI, split) for split in ("train", "val")]
    return [s for path in paths if path.is_file() for s in load_scenes(load_infos(path), root)]


def global_boxes(info: Info) -> list[dict[str, Any]]:
    """Annotations of the ten classes: id, name, points, centre, size (w, l, h), quaternion."""
    lidar2ego, ego2global = (
        geometry.pose_matrix(info[f"{name}_rotation"], info[f"{name}_translation"])
        for name in ("lidar2ego", "ego2global")
    )
    boxes = np.concatenate([info["gt_boxes"], np.zeros((len(info["gt_boxes"]), 2))], axis=1)
    center, size, rotation, _ = geometry.legacy_boxes_to_global(boxes, lidar2ego, ego2global)
    return [
        {
            "id": str(info["instance_inds"][i]),
            "name": str(info["gt_names"][i]),
            "points": int(info["num_lidar_pts"][i]),
            "center": center[i],
            "size": size[i],
            "rotation": rotation[i],
        }
        for i in range(len(boxes))
        if info["gt_names"][i] in CLASSES
    ]


def write_folder(root: Path, out: Path) -> None:
    """The layout of :mod:`pftrack.data.folder`."""
    for scene in scenes_of(root):
        folder = out / scene.name
        frame = scene.frame(0)
        cameras = {}
        for i, name in enumerate(frame.cameras):
            (folder / "images" / name).mkdir(parents=True)
            pose = frame.sensor2ego[i]
            cameras[name] = {
                "intrinsic": frame.intrinsics[i].tolist(),
                "rotation": geometry.matrix_to_quaternion(pose[:3, :3]).tolist(),
                "translation": pose[:3, 3].tolist(),
            }
        (folder / "calibration.json").write_text(json.dumps({"cameras": cameras}, indent=1))
        poses: list[list[Any]] = [["frame", "time", *("x", "y", "z", "qw", "qx", "qy", "qz")]]
        rows: list[list[Any]] = [
            ["frame", "id", "class", "x", "y", "z", "width", "length", "height", "yaw", "points"]
        ]
        for t, info in enumerate(scene.infos):
            frame, name = scene.frame(t), f"{t:06d}"
            place, turn = info["ego2global_translation"], info["ego2global_rotation"]
            poses.append([name, frame.timestamp, *place, *turn])
            for camera, image in zip(frame.cameras, frame.images, strict=True):
                if image is not None:
                    shutil.copyfile(str(image), folder / "images" / camera / f"{name}.jpg")
            for box in global_boxes(info):
                yaw = float(geometry.yaw_from_quaternion(box["rotation"]))
                numbers = [*box["center"], *box["size"], yaw]
                rows.append([name, box["id"], box["name"], *numbers, box["points"]])
        for file, lines in (("poses.csv", poses), ("boxes.csv", rows)):
            with (folder / file).open("w", newline="") as stream:
                csv.writer(stream).writerows(lines)


def write_kitti(root: Path, out: Path) -> None:
    """The layout of :mod:`pftrack.data.kitti`, with the front camera; types KITTI does not have
    are left out."""
    types = {"car": "Car", "truck": "Truck", "pedestrian": "Pedestrian", "bicycle": "Cyclist"}
    for number, scene in enumerate(scenes_of(root)):
        name = f"{number:04d}"
        for folder in ("calib", "oxts", "label_02", f"image_02/{name}"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        frame = scene.frame(0)
        front = list(frame.cameras).index("CAM_FRONT")
        k, ego2cam = frame.intrinsics[front], np.linalg.inv(frame.sensor2ego[front])
        projection = np.c_[k, np.zeros(3)]
        calibration = {
            "P2": projection,
            "R_rect": np.eye(3),
            "Tr_velo_cam": ego2cam[:3],
            "Tr_imu_velo": np.eye(4)[:3],
        }
        (out / "calib" / f"{name}.txt").write_text(
            "".join(f"{key}: {_text(value.ravel())}\n" for key, value in calibration.items())
        )
        origin = np.asarray(scene.infos[0]["ego2global_translation"])
        oxts, labels = [], []
        for t, info in enumerate(scene.infos):
            frame = scene.frame(t)
            oxts += [_oxts(frame.ego2global, origin)] * REPEATS
            picture = cv2.imread(str(frame.images[front]))
            cv2.imwrite(str(out / "image_02" / name / f"{t * REPEATS:06d}.png"), picture)
            global2cam = ego2cam @ np.linalg.inv(frame.ego2global)
            for box in global_boxes(info):
                if box["name"] in types:
                    label = _label(box, global2cam)
                    labels.append(f"{t * REPEATS} {box['id']} {types[box['name']]} {label}")
        (out / "oxts" / f"{name}.txt").write_text("\n".join(oxts) + "\n")
        (out / "label_02" / f"{name}.txt").write_text("\n".join(labels) + "\n")


def write_argoverse(root: Path, out: Path) -> None:
    """The layout of :mod:`pftrack.data.argoverse`, sweeps at 10 Hz that repeat the key frames."""
    categories = {name: key for key, name in reversed(argoverse.CLASSES.items())}
    for number, scene in enumerate(scenes_of(root)):
        log = out / f"log{number}"
        frame = scene.frame(0)
        names = [f"ring_{name.removeprefix('CAM_').lower()}" for name in frame.cameras]
        inside = {
            "sensor_name": names,
            **{
                key: frame.intrinsics[:, row, column].tolist()
                for key, row, column in (
                    *(("fx_px", 0, 0), ("fy_px", 1, 1)),
                    *(("cx_px", 0, 2), ("cy_px", 1, 2)),
                )
            },
        }
        mounts = [_se3(pose) for pose in frame.sensor2ego]
        poses: list[dict[str, Any]] = []
        boxes: list[dict[str, Any]] = []
        for t, info in enumerate(scene.infos):
            frame = scene.frame(t)
            for repeat in range(REPEATS):
                time = int(frame.timestamp * 1e9) + repeat * 100_000_000
                poses.append({"timestamp_ns": time, **_se3(frame.ego2global)})
                for box in global_boxes(info):
                    pose = geometry.pose_matrix(box["rotation"], box["center"])
                    width, length, height = box["size"].tolist()
                    if box["name"] in categories:
                        boxes.append(
                            {
                                "timestamp_ns": time,
                                "track_uuid": box["id"],
                                "category": categories[box["name"]],
                                **{"length_m": length, "width_m": width, "height_m": height},
                                **_se3(np.linalg.inv(frame.ego2global) @ pose),
                                "num_interior_pts": box["points"],
                            }
                        )
            for i, (name, image) in enumerate(zip(names, frame.images, strict=True)):
                # Each camera exposes at a moment of its own, and has a pose for it.
                moment = int(frame.timestamp * 1e9) + (i + 1) * 1_000_000
                poses.append({"timestamp_ns": moment, **_se3(frame.camera_ego2global[i])})
                folder = log / "sensors" / "cameras" / name
                folder.mkdir(parents=True, exist_ok=True)
                if image is not None:
                    shutil.copyfile(str(image), folder / f"{moment}.jpg")
        (log / "calibration").mkdir()
        _write_feather(log / argoverse.INTRINSICS, inside)
        _write_feather(log / argoverse.MOUNTS, {"sensor_name": names, **_columns(mounts)})
        _write_feather(log / argoverse.POSES, _columns(poses))
        _write_feather(log / argoverse.ANNOTATIONS, _columns(boxes))


def _se3(pose: np.ndarray) -> dict[str, float]:
    """A pose in Argoverse's columns."""
    turn, place = geometry.matrix_to_quaternion(pose[:3, :3]), pose[:3, 3]
    names = (*argoverse.TURN, *argoverse.PLACE)
    return dict(zip(names, [*turn.tolist(), *place.tolist()], strict=True))


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _write_feather(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow

    argoverse.require_pyarrow().write_feather(pyarrow.table(columns), str(path))


def _oxts(ego2global: np.ndarray, origin: np.ndarray) -> str:
    """lat lon alt roll pitch yaw of a pose, by Mercator's projection."""
    x, y, z = ego2global[:3, 3] - origin
    reach = math.cos(math.radians(LATITUDE)) * kitti.EARTH
    north = math.log(math.tan(math.pi / 4 + math.radians(LATITUDE) / 2)) + y / reach
    latitude = math.degrees(2 * math.atan(math.exp(north)) - math.pi / 2)
    longitude = LONGITUDE + math.degrees(x / reach)
    yaw = math.atan2(ego2global[1, 0], ego2global[0, 0])
    return _text([latitude, longitude, z, 0, 0, yaw])


def _label(box: dict[str, Any], global2cam: np.ndarray) -> str:
    x, y, z = geometry.transform_points(box["center"][None], global2cam)[0]
    ahead = global2cam[:3, :3] @ geometry.quaternion_to_matrix(box["rotation"])[:, 0]
    width, length, height = box["size"]
    turn = math.atan2(-ahead[2], ahead[0])
    return _text([0, 0, 0, 0, 0, 0, 0, height, width, length, x, y + height / 2, z, turn])


def _text(values: Any) -> str:
    return " ".join(f"{float(value):.15g}" for value in values)


WRITERS = {"folder": write_folder, "kitti": write_kitti, "argoverse": write_argoverse}


def main() -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("format", choices=WRITERS)
    parser.add_argument("dataset", type=Path, help="generated v1.0-mini with info files")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    WRITERS[args.format](args.dataset, args.out)
    return 0


if __name__ == "__main__":
    run_cli(main)
