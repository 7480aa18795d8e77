"""Info files and nuScenes' tables, and the images."""

from __future__ import annotations

import copy
import json
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from laboratory.battery.cases.maker import MISSING, Main, Maker, command, fields, put, show
from laboratory.battery.worker import Case
from laboratory.battery.world import MINI


def infos(make: Maker) -> Iterator[Case]:
    kinds = {
        "token": "token", "scene_token": "text", "timestamp": "positive", "cams": "dict",
        "lidar2ego_rotation": "quaternion", "lidar2ego_translation": "vec3",
        "ego2global_rotation": "quaternion", "ego2global_translation": "vec3",
        "cams.CAM_BACK": "dict", "cams.CAM_FRONT.data_path": "text",
        "cams.CAM_FRONT.sensor2ego_rotation": "quaternion",
        "cams.CAM_FRONT.sensor2ego_translation": "vec3",
        "cams.CAM_FRONT.sensor2lidar_rotation": "vec3",
        "cams.CAM_FRONT.cam_intrinsic": "vec3",
        "gt_boxes": "vec3", "gt_names": "dict", "gt_velocity": "vec3", "valid_flag": "vec3",
        "instance_inds": "dict", "forecasting_locs": "vec3", "forecasting_masks": "vec3",
    }  # fmt: skip
    for name, value, at in make.draws(fields(kinds), 150, 60):
        if name == "token" and value in ("unknown", "../x", "0" * 32):
            continue  # any text is a token
        if name == "cams.CAM_BACK" and isinstance(value, str) and value == MISSING:
            continue  # a camera may drop out

        def run(
            folder: Path, name: str = name, value: Any = value, at: float = at
        ) -> tuple[Main, list[str]]:
            content = copy.deepcopy(make.world.info_content)
            number = int(at * len(content["infos"]))
            put(content["infos"][number], name, value)
            file = folder / "infos.pkl"
            file.write_bytes(pickle.dumps(content, protocol=4))
            return make.dry_run(folder, infos=file)

        yield Case("infos", f"{name} = {show(value)}", run)

    def use(file: Path, folder: Path) -> tuple[Main, list[str]]:
        return make.dry_run(folder, infos=file)

    yield from make.pickles("infos", make.world.infos.read_bytes(), use, 80, 61)


def tables(make: Maker) -> Iterator[Case]:
    kinds = {
        "scene.token": "text", "scene.name": "text",
        "sample.token": "text", "sample.scene_token": "token", "sample.timestamp": "positive",
        "sensor.channel": "text", "calibrated_sensor.sensor_token": "token",
        "calibrated_sensor.translation": "vec3", "calibrated_sensor.rotation": "quaternion",
        "ego_pose.translation": "vec3", "ego_pose.rotation": "quaternion",
        "sample_data.sample_token": "token", "sample_data.ego_pose_token": "token",
        "sample_data.calibrated_sensor_token": "token", "sample_data.filename": "text",
        "category.name": "text", "instance.category_token": "token",
        "sample_annotation.sample_token": "token", "sample_annotation.instance_token": "token",
        "sample_annotation.translation": "vec3", "sample_annotation.size": "size",
        "sample_annotation.rotation": "quaternion", "sample_annotation.num_lidar_pts": "count",
    }  # fmt: skip
    for name, value, at in make.draws(fields(kinds), 130, 70):

        def run(
            folder: Path, name: str = name, value: Any = value, at: float = at
        ) -> tuple[Main, list[str]]:
            table, field = name.split(".")
            rows = copy.deepcopy(make.world.table_content[table])
            number = _read_row(make, table, at)
            put(rows[number], field, value)
            return make.convert(folder, table, json.dumps(rows).encode())

        yield Case("tables", f"{name} = {show(value)}", run)
    for name in ("sample", "sample_data", "sample_annotation", "ego_pose"):
        data = (make.world.data / MINI / f"{name}.json").read_bytes()

        def use(file: Path, folder: Path, name: str = name) -> tuple[Main, list[str]]:
            spoiled = None if file.is_dir() else file.read_bytes()
            return make.convert(folder, name, spoiled)

        yield from make.texts("tables", data, 8, use, 71)
    yield from _odd_tables(make)


def _read_row(make: Maker, table: str, at: float) -> int:
    """A row that the converter reads: of sample_data, key frames."""
    rows = make.world.table_content[table]
    if table != "sample_data":
        return int(at * len(rows))
    keys = [
        n
        for n, row in enumerate(rows)
        if row["is_key_frame"] and "CAM" in row["filename"].split("/")[1]
    ]
    return keys[int(at * len(keys))]


def _odd_tables(make: Maker) -> Iterator[Case]:
    def twice(rows: list[dict[str, Any]]) -> None:
        rows.append(dict(rows[0]))

    def own_next(rows: list[dict[str, Any]]) -> None:
        rows[0]["next"] = rows[0]["token"]

    def own_previous(rows: list[dict[str, Any]]) -> None:
        rows[0]["prev"] = rows[0]["token"]

    def none(rows: list[dict[str, Any]]) -> None:
        rows.clear()

    def no_rows(rows: list[Any]) -> None:
        rows[0] = ["a", "list"]

    for table, change in (
        *((name, twice) for name in ("scene", "sample", "sample_data", "sample_annotation")),
        ("sample_annotation", own_next),
        ("sample_annotation", own_previous),
        *((name, none) for name in ("scene", "sample", "sample_data", "sensor", "ego_pose")),
        *((name, no_rows) for name in ("scene", "sample", "instance", "category")),
    ):

        def run(
            folder: Path, table: str = table, change: Callable[[Any], None] = change
        ) -> tuple[Main, list[str]]:
            rows = copy.deepcopy(make.world.table_content[table])
            change(rows)
            return make.convert(folder, table, json.dumps(rows).encode())

        yield Case("tables", f"{table}: {change.__name__}", run)


def images(make: Maker) -> Iterator[Case]:
    source = next((make.world.data / "samples" / "CAM_FRONT").glob("*.jpg"))
    data = source.read_bytes()
    huge = bytearray(data)
    at = huge.index(b"\xff\xc0") + 5
    huge[at : at + 4] = struct.pack(">HH", 65000, 65000)
    spoiled = {
        "huge": bytes(huge),
        "torn": data[: len(data) // 2],
        "empty": b"",
        "text": b"no image",
        "a png's head": b"\x89PNG\r\n\x1a\n" + b"\0" * 30,
        "missing": None,
    }
    for name, content in spoiled.items():

        def run(folder: Path, content: bytes | None = content) -> tuple[Main, list[str]]:
            root = folder / "nuscenes"
            for camera in (make.world.data / "samples").iterdir():
                target = root / "samples" / camera.name
                target.mkdir(parents=True)
                for image in camera.iterdir():
                    if camera.name == "CAM_FRONT":
                        if content is not None:
                            (target / image.name).write_bytes(content)
                    else:
                        (target / image.name).symlink_to(image)
            (root / MINI).symlink_to(make.world.data / MINI)
            return command(
                "make_video", make.world.results, "--dataroot", root,
                "--infos", make.world.val_infos,
                "--out", folder / "out", "--frames", 1, "--no-lidar",
            )  # fmt: skip

        yield Case("image", name, run)
