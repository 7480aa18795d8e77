"""Golden files about boxes, poses, results and images: e_ (conversion to nuScenes), f_ (image
augmentation) and the box rows of g_.

Each check yields ``(array name, this code's value, reference value)``; pictures and matrices come
from the reference's inputs in the same file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from pftrack import geometry
from pftrack.datasets.augmentation import draw_augmentation
from pftrack.datasets.frames import padded_size
from pftrack.datasets.image_config import AugmentationConfig
from pftrack.nuscenes.format_results import (
    detection_results,
    to_global,
    tracking_results,
)
from pftrack.structures import ClipBatch

Arrays = Mapping[str, np.ndarray]
Row = tuple[str, Any, Any]
PC_RANGE = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
# Constants of the reference's unit file that it does not store.
_BEV_RANGE = (-30.0, -30.0, 30.0, 30.0)
_ADDED_YAW, _TURN = 4.0, 0.3


def check_conversion(arrays: Arrays, meta: Mapping[str, Any]) -> Iterator[Row]:
    """e_: one sample's boxes to the dicts of both submission formats."""
    boxes = arrays["in_boxes_3d"].copy()  # with the bottom centre, as mmdet3d stores them
    boxes[:, 2] += boxes[:, 5] / 2
    lidar2ego = geometry.pose_matrix(arrays["lidar2ego_rotation"], arrays["lidar2ego_translation"])
    ego2global = geometry.pose_matrix(
        arrays["ego2global_rotation"], arrays["ego2global_translation"]
    )
    identity = np.eye(4)
    center, size, rotation, velocity = geometry.legacy_boxes_to_global(boxes, identity, identity)
    yield "gravity_center", boxes[:, :3], arrays["gravity_center"]
    yield "corners", geometry.box_corners(boxes), arrays["corners"]
    yield "lidar_center", center, arrays["lidar_center"]
    yield "lidar_wlh", size, arrays["lidar_wlh"]
    yield "lidar_rotation", *_same_sign(rotation, arrays["lidar_rotation"])
    yield "lidar_velocity", velocity, arrays["lidar_velocity"]
    result = to_global(
        boxes,
        arrays["in_scores"],
        arrays["in_labels"],
        lidar2ego,
        ego2global,
        arrays["in_track_ids"].tolist(),
        arrays["in_forecasting"],
    )
    for kind, make in (("tracking", tracking_results), ("detection", detection_results)):
        for sample, reference in meta[f"json_{kind}"]["results"].items():
            ours = make(sample, result)
            yield from _compare_dicts(f"json_{kind}", ours, reference)


def _compare_dicts(name: str, ours: list[Any], reference: list[Any]) -> Iterator[Row]:
    """Lists of result dicts, field by field."""
    fields = list(reference[0]) if reference else []
    texts = [f for f in fields if isinstance(reference[0][f], str)]
    yield f"{name}.fields", [list(box) for box in ours], [list(box) for box in reference]
    for field in fields:
        values = [[box.get(field) for box in boxes] for boxes in (ours, reference)]
        if field in texts:
            yield f"{name}.{field}", values[0], values[1]
        elif field == "rotation":
            yield f"{name}.{field}", *_same_sign(np.array(values[0]), np.array(values[1]))
        else:
            yield f"{name}.{field}", np.array(values[0]), np.array(values[1])


def _same_sign(ours: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quaternions q and -q are the same rotation: take the sign of the reference."""
    if ours.shape == reference.shape:
        ours = np.where((ours * reference).sum(-1, keepdims=True) < 0, -ours, ours)
    return ours, reference


def check_augmentation(arrays: Arrays, meta: Mapping[str, Any]) -> Iterator[Row]:
    """f_: draws, pixels, intrinsics, projections, normalisation and padding of every variant."""
    images = arrays["img"]
    size = (int(images.shape[2]), int(images.shape[3]))
    lidar2cam = np.swapaxes(arrays["extrinsics_T"], -1, -2)
    for name, variant in meta["variants"].items():
        conf = AugmentationConfig.from_dict(variant["conf"])
        seed = variant["np_random_seed"]
        random = np.random.RandomState(seed) if variant["training"] else None
        augmentation = draw_augmentation(conf, random)
        for key, value in variant["sampled"].items():
            yield f"{name}.sampled.{key}", np.array(getattr(augmentation, key)), np.array(value)
        pixels = np.stack([[augmentation(i, "pillow") for i in clip] for clip in images])
        yield f"{name}.aug", pixels, arrays[f"{name}.aug"]
        intrinsics = augmentation.intrinsics(arrays["intrinsics"][:, :3, :3], size)
        lidar2img = geometry.lidar2img_matrix(intrinsics, lidar2cam)
        frames = len(images)  # every frame of the clip is treated alike
        reference = arrays[f"{name}.intrinsics"][..., :3, :3]
        yield f"{name}.intrinsics", np.stack([intrinsics] * frames), reference
        yield f"{name}.lidar2img", np.stack([lidar2img] * frames), arrays[f"{name}.lidar2img"]
        padded = _normalized_and_padded(pixels, variant["pad_shape"][0][:2])
        height, width = augmentation.size
        yield f"{name}.normalized", padded[:, :, :height, :width], arrays[f"{name}.normalized"]
        yield f"{name}.padded", padded, arrays[f"{name}.padded"]


def _normalized_and_padded(pixels: np.ndarray, pad_shape: tuple[int, int]) -> np.ndarray:
    """[T, N, H, W, 3] float32: what the batch makes of uint8 images on the device."""
    height, width = pixels.shape[2:4]
    if padded_size((height, width), 32) != tuple(pad_shape):
        return np.empty(0)
    padded = np.zeros((*pixels.shape[:2], *pad_shape, 3), dtype=np.uint8)
    padded[:, :, :height, :width] = pixels
    batch = ClipBatch(
        img=torch.from_numpy(padded).permute(0, 1, 4, 2, 3)[None],
        img_shape=(height, width),
        lidar2img=torch.empty(0),
        l2g=torch.empty(0),
        timestamp=torch.empty(0),
    )
    return batch.normalized().img[0].permute(0, 1, 3, 4, 2).numpy()


def check_boxes_and_ego_motion(arrays: Arrays, _meta: Mapping[str, Any]) -> Iterator[Row]:
    """g_: the rows about legacy boxes and the change of lidar frame."""
    boxes = torch.from_numpy(arrays["gt_bboxes"])
    bottom = boxes.clone()
    bottom[:, 2] = geometry.legacy_to_mm3d(boxes)[:, 2]
    yield "box_tensor", bottom, arrays["box_tensor"]
    yield "box_gravity_center", boxes[:, :3], arrays["box_gravity_center"]
    yield "box_corners", geometry.box_corners(boxes), arrays["box_corners"]
    yield (
        "box_in_range_bev",
        geometry.in_bev_range(boxes, _BEV_RANGE),
        arrays["box_in_range_bev"],
    )
    limited = geometry.limit_angle(boxes[:, 6] + _ADDED_YAW)
    yield "box_limit_yaw_of_yaw_plus_4", limited, arrays["box_limit_yaw_of_yaw_plus_4"]
    yield "box_rotate_0.3", geometry.rotate_boxes(bottom, _TURN), arrays["box_rotate_0.3"]
    points = geometry.denormalize_points(torch.from_numpy(arrays["ego_norm_in"]), PC_RANGE)
    l2g0, l2g1 = (torch.from_numpy(arrays[name]) for name in ("l2g0", "l2g1"))
    moved = geometry.change_lidar_frame(points, l2g0, l2g1)
    yield "ego_denorm_out", moved, arrays["ego_denorm_out"]
    yield "ego_norm_out", geometry.normalize_points(moved, PC_RANGE), arrays["ego_norm_out"]
