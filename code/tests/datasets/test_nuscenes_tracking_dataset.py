"""Clips of generated data: contents, filters, determinism, mistakes in configurations."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pftrack import geometry
from pftrack.datasets.augmentation import draw_augmentation
from pftrack.datasets.frames import (
    info_to_frame,
    lidar2cam_matrices,
    prepare_frame,
    prepared_frames,
    resolve_path,
)
from pftrack.datasets.infos import load_infos
from pftrack.datasets.nuscenes_tracking_dataset import NuScenesTrackingDataset
from pftrack.datasets.targets import frame_targets
from pftrack.errors import UserError
from pftrack.registry import TRANSFORMS
from pftrack.structures import CLASSES

IDA = {"final_dim": (72, 184), "H": 225, "W": 400, "resize_lim": (0.47, 0.6), "rand_flip": True}
PC_RANGE = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)


@pytest.fixture(scope="module")
def make(demo_data: Path, demo_infos: dict[str, Path]) -> Any:
    """Builds the dataset of the generated training scene."""

    def build(split: str = "train", **settings: Any) -> NuScenesTrackingDataset:
        defaults = {"data_root": demo_data, "ida_aug_conf": IDA, "point_cloud_range": PC_RANGE}
        return NuScenesTrackingDataset(demo_infos[split], **(defaults | settings))

    return build


def test_a_training_clip(make: Any) -> None:
    dataset = make(num_frames_per_sample=3)
    assert len(dataset) == 6 and dataset.version == "v1.0-mini"
    sample = dataset[1]
    assert sample.img.shape == (3, 6, 96, 192, 3) and sample.img.dtype == torch.uint8
    assert sample.img_shape == (72, 184)
    assert not sample.img[:, :, 72:].any() and not sample.img[..., 184:, :].any()
    assert sample.img[:, :, :72, :150].float().std() > 20
    tokens = [info["token"] for info in dataset.infos]
    assert sample.sample_tokens == [tokens[0], tokens[0], tokens[1]]
    assert torch.equal(sample.img[0], sample.img[1]) and not torch.equal(
        sample.img[1], sample.img[2]
    )
    assert sample.lidar2img.shape == (3, 6, 4, 4) and sample.lidar2img.dtype == np.float64
    assert sample.l2g.dtype == np.float32 and sample.timestamp.dtype == np.float64
    assert 0.4 < sample.timestamp[2] - sample.timestamp[1] < 0.6
    for targets in sample.targets:
        assert len(targets) > 0 and targets.boxes.shape[1] == 9


def test_boxes_project_into_the_augmented_images(make: Any) -> None:
    """lidar2img of a clip = the camera's projection, moved by the clip's augmentation."""
    dataset = make()
    info = dataset.infos[2]
    sample = dataset[2]
    augmentation = draw_augmentation(dataset.augmentation, np.random.RandomState([0, 0, 2]))
    frame = dataset.frame(2)
    centers = sample.targets[0].boxes[:, :3].double().numpy()
    seen = 0
    for camera in range(6):
        plain = geometry.lidar2img_matrix(frame.intrinsics[camera], frame.lidar2cam[camera])
        before, depth = geometry.project(centers, plain)
        after, _ = geometry.project(centers, sample.lidar2img[0, camera])
        ones = np.ones((len(before), 1))
        moved = np.concatenate([before, ones], 1) @ augmentation.matrix().T
        ahead = depth > 1
        np.testing.assert_allclose(after[ahead], moved[ahead, :2], atol=1e-3)
        seen += int(ahead.sum())
    assert seen > 0 and info["token"] == sample.sample_tokens[0]


def test_lidar_to_camera_from_poses_equals_the_infos(make: Any) -> None:
    frame = make().frame(3)
    stored = lidar2cam_matrices(frame)
    frame.lidar2cam = None
    np.testing.assert_allclose(lidar2cam_matrices(frame), stored, atol=1e-9)


def test_targets_are_filtered(golden_dir: Path) -> None:
    infos = load_infos(golden_dir / "infos" / "tracking_forecasting_infos_train.pkl").infos
    info = infos[1]
    every = frame_targets(info)
    assert len(every) == int(info["valid_flag"].sum()) < len(info["gt_names"])
    names = info["gt_names"][info["valid_flag"]]
    assert [CLASSES[label] for label in every.labels] == names.tolist()
    np.testing.assert_allclose(every.boxes[:, :7], info["gt_boxes"][info["valid_flag"]], rtol=1e-6)
    assert every.forecasting_locs.shape == (len(every), 13, 3)
    np.testing.assert_allclose(every.forecasting_locs[:, 0], every.boxes[:, :3], atol=1e-5)

    near = frame_targets(info, pc_range=(-20, -20, -5, 20, 20, 3))
    assert 0 < len(near) < len(every) and bool((near.boxes[:, :2].abs() < 20).all())
    cars = frame_targets(info, classes=("car", "pedestrian"))
    assert set(cars.labels.tolist()) == {0, 1}

    lidar_only = dict(info, num_lidar_pts=np.where(np.arange(51) == 0, 0, info["num_lidar_pts"]))
    assert len(frame_targets(lidar_only, use_valid_flag=False)) <= len(every)


def test_unknown_velocity_and_missing_future(golden_dir: Path) -> None:
    info = dict(load_infos(golden_dir / "infos" / "tracking_forecasting_infos_train.pkl").infos[1])
    info["gt_velocity"] = np.full_like(info["gt_velocity"], np.nan)
    for key in [key for key in info if key.startswith("forecasting")]:
        del info[key]
    targets = frame_targets(info)
    assert not targets.boxes[:, 7:].any() and not targets.forecasting_masks.any()
    empty = {k: v[:0] for k, v in info.items() if k.startswith(("gt_", "valid", "instance"))}
    assert len(frame_targets(empty)) == 0


def test_samples_are_a_function_of_seed_epoch_and_index(make: Any) -> None:
    one, two, other = make(seed=3), make(seed=3), make(seed=4)
    assert torch.equal(one[4].img, two[4].img)
    np.testing.assert_array_equal(one[4].lidar2img, two[4].lidar2img)
    assert not np.array_equal(one[4].lidar2img, other[4].lidar2img)
    before = one[4].lidar2img
    one.set_epoch(1)
    assert not np.array_equal(one[4].lidar2img, before)
    one.set_epoch(0)
    np.testing.assert_array_equal(one[4].lidar2img, before)


def test_test_mode_reads_frames_in_order_without_targets(make: Any) -> None:
    dataset = make("val", test_mode=True, num_frames_per_sample=3)
    samples = [dataset[i] for i in range(2)]
    assert [len(sample.sample_tokens) for sample in samples] == [1, 1]
    assert samples[0].targets == [] and samples[0].timestamp[0] < samples[1].timestamp[0]
    frame = dataset.frame(0)
    streamed = prepare_frame(frame, dataset.test_augmentation())
    assert torch.equal(streamed.img, samples[0].img[0])
    np.testing.assert_array_equal(streamed.lidar2img, samples[0].lidar2img[0])


def test_prefetched_frames_are_the_same_in_order(make: Any) -> None:
    dataset = make("val", test_mode=True)
    augmentation = dataset.test_augmentation()
    frames = [dataset.frame(i) for i in range(len(dataset))]
    found = list(prepared_frames(frames, augmentation, threads=3, ahead=2))
    assert [frame.sample_token for frame, _ in found] == [f.sample_token for f in frames]
    for index, (_, arrays) in enumerate(found):
        assert torch.equal(arrays.img, dataset[index].img[0])


def test_official_infos_find_images_below_data_root() -> None:
    path = resolve_path("./data/nuscenes/samples/CAM_FRONT/a.jpg", "/mnt/nuscenes")
    assert path == Path("/mnt/nuscenes/samples/CAM_FRONT/a.jpg")
    assert resolve_path("elsewhere/a.jpg", "/mnt/nuscenes") == Path("elsewhere/a.jpg")
    assert resolve_path("data/samples/a.jpg", None) == Path("data/samples/a.jpg")


def test_missing_and_truncated_images_are_named(make: Any, tmp_path: Path) -> None:
    dataset = make(data_root=tmp_path)
    with pytest.raises(UserError, match=r"no image .*CAM_FRONT"):
        dataset[0]
    source = make().frame(0)
    for path in source.images:
        target = tmp_path / Path(path).relative_to(Path(path).parents[2])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(path).read_bytes()[:2000])
    with pytest.raises(UserError, match="truncated or damaged"):
        dataset[0]


# --- configurations -------------------------------------------------------------------------------


def test_pipelines_of_the_original_configurations_are_read(make: Any) -> None:
    single = [
        {"type": "LoadMultiViewImageFromFiles", "to_float32": True},
        {"type": "TrackLoadAnnotations3D", "with_bbox_3d": True, "with_label_3d": True},
        {"type": "TrackInstanceRangeFilter", "point_cloud_range": [-30, -30, -5, 30, 30, 3]},
        {"type": "TrackObjectNameFilter", "classes": list(CLASSES)},
    ]
    post = [
        {"type": "TrackResizeCropFlipImage", "data_aug_conf": IDA, "training": True},
        {
            "type": "TrackNormalizeMultiviewImage",
            "mean": [1, 2, 3],
            "std": [4, 5, 6],
            "to_rgb": False,
        },
        {"type": "TrackPadMultiViewImage", "size_divisor": 64},
        {"type": "Collect3D", "keys": ["img"]},
    ]
    dataset = make(
        pipeline_single=single,
        pipeline_post=post,
        ida_aug_conf=None,
        modality={"use_camera": True},
        box_type_3d="LiDAR",
    )
    sample = dataset[0]
    assert sample.img.shape[2:] == (128, 192, 3) and sample.mean == (1, 2, 3)
    assert bool((sample.targets[0].boxes[:, :2].abs() < 30).all())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ida_aug_conf": None}, "no 'ida_aug_conf'"),
        ({"data_rot": "x"}, "unknown setting 'data_rot'"),
        ({"pipeline": [{"type": "GlobalRotScaleTransImage"}]}, "'GlobalRotScaleTransImage'"),
        ({"pipeline": [{"type": "NormalizeMultiviewImage", "to_rgb": True}]}, "to_rgb=True"),
        ({"pipeline": [{"type": "NormalizeMultiviewImage"}]}, "to_rgb=True, which is also meant"),
        ({"pipeline": [{"type": "TrackPadMultiViewImage", "size": (320, 800)}]}, "size_divisor"),
        ({"pipeline": [{"type": "TrackPadMultiViewImage", "size_diviser": 32}]}, "size_diviser"),
        (
            {"pipeline": [{"type": "TrackObjectNameFilter", "classes": CLASSES[:9]}]},
            "the class 'barrier', which its TrackObjectNameFilter drops",
        ),
        ({"modality": {"use_camera": False}}, "'modality.use_camera=False'"),
        ({"modality": {"use_radar": True}}, "'modality.use_radar=True'"),
        ({"box_type_3d": "Camera"}, "box_type_3d=Camera"),
        ({"img_norm_cfg": {"to_rgb": True}}, "to_rgb=True"),
        ({"point_cloud_range": [8.9, 6.0, 9.0, 1.2, 7.0, 9.5]}, "each the larger one"),
        ({"point_cloud_range": [-51.2, 0.0, -5.0, 51.2, 0.0, 3.0]}, "each the larger one"),
        ({"img_norm_cfg": {"mean": [1.0]}}, "three numbers"),
        ({"img_norm_cfg": {"mean": [-103.5, 116.3, 123.7]}}, "three numbers"),
        ({"img_norm_cfg": {"std": [57.4, 0.0, 58.4]}}, "three numbers"),
        ({"ida_aug_conf": {**IDA, "resize_lim": (-0.5, 0.5)}}, "ida_aug_conf"),
        ({"ida_aug_conf": {**IDA, "resize_lim": (0.6, 0.5)}}, "the smaller first"),
        ({"ida_aug_conf": {**IDA, "rot_lim": (5.0, -5.0)}}, "the smaller first"),
        ({"ida_aug_conf": {**IDA, "final_dim": (0, 800)}}, "ida_aug_conf"),
        ({"ida_aug_conf": {**IDA, "bot_pct_lim": (0.0, 1.5)}}, "ida_aug_conf"),
        ({"ida_aug_conf": {**IDA, "H": -900}}, "ida_aug_conf"),
        ({"version": "v1.0-trainval"}, r"v1\.0-trainval is asked for"),
    ],
)
def test_mistakes_in_settings_are_named(make: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make(**settings)


def test_training_needs_futures_unless_told_otherwise(
    make: Any, demo_infos: dict[str, Path], tmp_path: Path, demo_data: Path
) -> None:
    content = pickle.loads(demo_infos["train"].read_bytes())
    for info in content["infos"]:
        del info["forecasting_locs"]
    path = tmp_path / "bare.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="'forecasting_locs' is missing"):
        NuScenesTrackingDataset(path, ida_aug_conf=IDA)
    dataset = NuScenesTrackingDataset(path, demo_data, ida_aug_conf=IDA, forecasting=False)
    assert not dataset[0].targets[0].forecasting_masks.any()


def test_a_registered_transform_is_called(make: Any) -> None:
    @TRANSFORMS.register_module(force=True)
    class Brighten:
        def __init__(self, by: int) -> None:
            self.by = by

        def __call__(self, sample: Any, random: Any) -> Any:
            assert random is not None
            sample.img = sample.img.int().add(self.by).clamp(max=255).byte()
            return sample

    plain, bright = make()[0], make(transforms=[{"type": "Brighten", "by": 10}])[0]
    assert torch.equal(bright.img, plain.img.int().add(10).clamp(max=255).byte())


def test_frame_of_an_info(make: Any) -> None:
    dataset = make()
    info = dataset.infos[1]
    frame = info_to_frame(info)
    assert frame.timestamp == info["timestamp"] / 1e6 and frame.scene_id == info["scene_token"]
    assert frame.sample_token == info["token"] and len(frame.images) == 6
