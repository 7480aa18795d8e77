"""Images and lidar points of the explorer: the pixels and places that the boxes are drawn at."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np

from pftrack import geometry
from pftrack.datasets.frames import lidar2cam_matrices
from pftrack.report.sensors import sensor_data
from pftrack.visualization.scenes import load_split


def test_matrices_put_global_points_where_the_cameras_see_them(
    demo_data: Path, demo_infos: dict[str, Path]
) -> None:
    (scene,) = load_split(demo_data, "v1.0-mini", only=["scene-0103"])
    origin = np.array([3.0, -2.0, 1.0])
    data = sensor_data(scene, [scene.tokens[2], "of another scene"], origin)
    assert data[1] is None
    frame = scene.frame(2)
    truth = scene.truth(2).center
    lidar2global = frame.ego2global @ frame.lidar2ego
    seen = 0
    for camera, (text, lidar2cam) in enumerate(
        zip(data[0]["images"], lidar2cam_matrices(frame), strict=True)
    ):
        image = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)
        assert list(image.shape[1::-1]) == data[0]["size"]
        lidar2img = geometry.lidar2img_matrix(frame.intrinsics[camera], lidar2cam)
        points = geometry.transform_points(truth, geometry.invert_pose(lidar2global))
        pixels, depth = geometry.project(points, lidar2img)
        matrix = np.array(data[0]["matrices"][camera]).reshape(3, 4)
        ours = np.c_[truth - origin, np.ones(len(truth))] @ matrix.T
        front = depth > 1
        scale = data[0]["size"][0] / 400
        found = ours[front, :2] / ours[front, 2:]
        assert np.abs(found - ((pixels[front] + 0.5) * scale - 0.5)).max(initial=0) < 1.0
        seen += front.sum()
    assert seen > 5


def test_lidar_points_are_thinned_where_they_lie(
    demo_data: Path, demo_infos: dict[str, Path]
) -> None:
    scene = load_split(demo_data, "v1.0-mini")[0]
    (data,) = sensor_data(scene, scene.tokens[:1], np.zeros(3))
    offset = np.frombuffer(base64.b64decode(data["lidar"]), "<i2").reshape(-1, 2) / 100
    frame = scene.frame(0)
    points = geometry.transform_points(
        scene.lidar(0)[:, :3].astype(float), frame.ego2global @ frame.lidar2ego
    )[:, :2]
    points -= frame.ego2global[:2, 3]
    assert 100 < len(offset) <= 1500
    nearest = [np.abs(points - place).max(axis=1).min() for place in offset[:50]]
    assert max(nearest) < 0.006
    again = sensor_data(scene, scene.tokens[:1], np.zeros(3))
    assert again[0]["lidar"] == data["lidar"]


def test_frames_without_their_images_have_none(demo_infos: dict[str, Path], tmp_path: Path) -> None:
    from pftrack.datasets.infos import load_infos
    from pftrack.visualization.scenes import load_scenes

    (tmp_path / "v1.0-mini").mkdir()
    (scene,) = load_scenes(load_infos(demo_infos["val"]), tmp_path)[:1]
    for info in scene.infos:
        for camera in info["cams"].values():
            camera["data_path"] = str(tmp_path / "gone.jpg")
    assert sensor_data(scene, scene.tokens, np.zeros(3)) == [None] * len(scene)
