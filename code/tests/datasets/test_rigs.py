"""Rigs of five and of seven cameras, one of which drops out: they train, track and are drawn."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_tracker import tracker_config

from laboratory.demo_data import generate_dataset
from laboratory.demo_data.rig import CAMERA_NAMES
from pftrack.conversion.run import convert_folder
from pftrack.datasets.collate import collate_clips
from pftrack.datasets.image_settings import ImageSettings
from pftrack.datasets.infos import InfoFile, load_infos
from pftrack.datasets.nuscenes_tracking_dataset import NuScenesTrackingDataset
from pftrack.errors import UserError
from pftrack.models.layers.detr3d_attention import Detr3DCrossAtten
from pftrack.nuscenes.facts import CAMERAS, rig_order
from pftrack.registry import build_model
from pftrack.tracking.api import Tracker
from pftrack.visualization.mosaic import HEADER, Style, draw_frame
from pftrack.visualization.rig import camera_names, layout
from pftrack.visualization.scenes import load_split

pytestmark = pytest.mark.slow
VERSION = "v1.0-mini"
RIGS = {
    5: ("right", "CAM_BACK", "left", "front_tele", "CAM_FRONT"),
    7: (*CAMERA_NAMES[::-1], "front_tele"),
}
GONE = (2, 3)  # key frames of the scene that CAM_BACK has no image in


@pytest.fixture(scope="module", params=sorted(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated data of a rig whose CAM_BACK drops out in mid-scene, with info files."""
    root = tmp_path_factory.mktemp(f"rig{request.param}") / "nuscenes"
    generate_dataset(
        root, scenes=1, frames=5, image_size=(320, 180), workers=1, cameras=RIGS[request.param]
    )
    table = root / VERSION / "sample_data.json"
    rows = json.loads(table.read_text())
    back = [row for row in rows if "/CAM_BACK/" in row["filename"]]
    gone = [back[frame]["token"] for frame in GONE]
    table.write_text(json.dumps([row for row in rows if row["token"] not in gone]))
    convert_folder(root, VERSION, root)
    return root


def infos_of(rig: Path) -> Path:
    return rig / "tracking_forecasting-mini_infos_val.pkl"


def dataset_of(rig: Path, **settings: Any) -> NuScenesTrackingDataset:
    conf = {"final_dim": (60, 90), "H": 180, "W": 320, "resize_lim": (0.35, 0.4)}
    return NuScenesTrackingDataset(infos_of(rig), rig, ida_aug_conf=conf, **settings)


def test_the_rig_is_what_the_data_have(rig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = load_infos(infos_of(rig))
    names = next(names for names in RIGS.values() if set(names) == set(file.cameras))
    # nuScenes' names in nuScenes' order, then the others as they come.
    assert file.cameras == rig_order(names)
    assert file.cameras[0] == "CAM_FRONT" and file.cameras[-1] not in CAMERAS
    assert file.dropouts == {"CAM_BACK": len(GONE)}
    dataset = dataset_of(rig, test_mode=True)
    assert f"CAM_BACK has no image in {len(GONE)} of 5 frames" in capsys.readouterr().out
    back = file.cameras.index("CAM_BACK")
    frame, before = dataset.frame(GONE[0]), dataset.frame(GONE[0] - 1)
    assert frame.images[back] is None and before.images[back] is not None
    assert frame.cameras == file.cameras
    np.testing.assert_array_equal(frame.intrinsics[back], before.intrinsics[back])
    np.testing.assert_allclose(frame.sensor2ego[back], before.sensor2ego[back], atol=1e-12)
    # The stand-in's two ways to the image agree: over the lidar, and over the poses.
    camera2global = frame.camera_ego2global @ frame.sensor2ego
    lidar2global = frame.ego2global @ frame.lidar2ego
    np.testing.assert_allclose(
        frame.lidar2cam[back], np.linalg.inv(camera2global[back]) @ lidar2global, atol=1e-6
    )
    sample = dataset[GONE[0]]
    batch = collate_clips([sample]).normalized()
    assert batch.img.shape[2] == len(file.cameras)
    assert batch.img[0, 0, back].abs().max() < 0.01 < batch.img[0, 0, back - 1].abs().max()


def test_it_trains_and_tracks(rig: Path) -> None:
    torch.manual_seed(0)
    model = build_model(tracker_config())
    clip = dataset_of(rig, num_frames_per_sample=3)[4]  # frames 2, 3, 4
    losses = model(collate_clips([clip]).normalized())
    total = sum(v for k, v in losses.items() if "loss" in k)
    total.backward()
    assert torch.isfinite(total)
    model.eval()
    dataset = dataset_of(rig, test_mode=True)
    images = ImageSettings(dataset.test_augmentation())
    tracker = Tracker(model, images)
    with torch.no_grad():  # every instance a car
        model.STReasoner.track_cls[-1].weight.zero_()
        model.STReasoner.track_cls[-1].bias.fill_(-5.0)[0] = 2.0
    tracks = [tracker.step(dataset.frame(i)) for i in range(len(dataset))]
    assert all(len(frame) for frame in tracks)


def test_it_is_drawn(rig: Path) -> None:
    (scene,) = load_split(rig, VERSION)
    frame = scene.frame(GONE[0])
    count = len(frame.images)
    picture = draw_frame(frame, scene.truth(GONE[0]), style=Style(camera_width=160, bird=False))
    columns = -(-count // 2)
    assert picture.shape == (HEADER + 2 * 90, columns * 160, 3)


def test_places_of_cameras() -> None:
    def looking(*degrees: float) -> np.ndarray:
        yaw = np.radians(degrees)
        poses = np.tile(np.eye(4), (len(yaw), 1, 1))
        poses[:, :3, 2] = np.stack([np.cos(yaw), np.sin(yaw), 0 * yaw], -1)
        return poses

    six = looking(0, -55, 55, 180, 110, -110)
    assert layout(CAMERAS, six) == [[2, 0, 1], [4, 3, 5]]
    assert layout(CAMERAS[:5], six[:5]) == [[2, 0, 1], [4, 3, None]]
    assert layout(["a", "b", "c"], looking(-90, 0, 90)) == [[2, 1, 0]]
    assert layout(list("abcde"), looking(0, 180, 90, -90, 5)) == [[2, 4, 0], [1, 3, None]]
    assert layout(["a"], looking(0)) == [[0]]
    assert camera_names(6) == list(CAMERAS) and camera_names(2) == ["0", "1"]


def save(path: Path, infos: InfoFile, change: Any) -> Path:
    change(infos.infos)
    content = {"infos": infos.infos, "metadata": {"version": infos.version}}
    path.write_bytes(pickle.dumps(content))
    return path


def many(infos: list[dict[str, Any]]) -> None:
    infos[1]["cams"] |= {f"extra{i}": infos[1]["cams"]["CAM_FRONT"] for i in range(12)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (many, "info 1: more than 12 cameras"),
        (lambda infos: infos[2]["cams"].clear(), "info 2: 'cams' is not a dict of cameras"),
        (lambda infos: infos[1]["cams"].update({"": {}}), "info 1: camera '' is no dict by a name"),
        (lambda infos: infos[3]["cams"].update(x=3), "info 3: camera 'x' is no dict by a name"),
        (lambda infos: infos[3]["cams"]["CAM_FRONT"].pop("cam_intrinsic"), "'cam_intrinsic' of"),
    ],
)
def test_what_a_rig_is_not(demo_infos: dict, tmp_path: Path, change: Any, message: str) -> None:
    path = save(tmp_path / "infos.pkl", load_infos(demo_infos["val"]), change)
    with pytest.raises(UserError, match=message):
        load_infos(path)


def test_detr3d_says_how_many_cameras_it_takes() -> None:
    attention = Detr3DCrossAtten([-1, -1, -1, 1, 1, 1], embed_dims=8, num_levels=1)
    feats = [torch.zeros(1, 5, 8, 2, 2)]
    matrices = torch.eye(4).expand(1, 5, 4, 4)
    with pytest.raises(UserError, match="num_cams=6, but the data have 5 cameras"):
        attention(torch.zeros(1, 3, 8), None, feats, torch.zeros(1, 3, 3), matrices, (2, 2))
