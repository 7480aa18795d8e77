"""Annotations as arrays: boxes, velocities and futures in the lidar frames."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pftrack import geometry
from pftrack.nuscenes.facts import CLASSES, FUTURE_FRAMES, KEY_FRAME_SECONDS
from pftrack.nuscenes.tables import Tables

MAX_VELOCITY_GAP = 1.5  # s, from the devkit's box_velocity; twice that for central differences
STATIC, LINEAR, OTHER = 0, 1, 2


@dataclass
class Annotations:
    """Annotations of some samples; those of the s-th of them are the rows ``slices[s]``.

    Attributes:
        row: [n] rows of the ``sample_annotation`` table.
        boxes: [n, 7] legacy boxes in the lidar frame.  velocity: [n, 2] in the lidar frame, NaN
            where unknown.
        names: n class names, or the nuScenes category where no class corresponds.
        valid: [n] lidar or radar points inside, and of one of the ten classes.
        future: [n, 13] annotation rows of the same object now and at the next key frames; the last
            one repeats.
        future_mask: [n, 13] False where it repeats.
        future_locs: [n, 13, 3] their centres in the lidar frame of the annotation's own sample.
        future_type: [n] STATIC, LINEAR or OTHER.
    """

    row: np.ndarray
    slices: list[slice]
    boxes: np.ndarray
    velocity: np.ndarray
    names: list[str]
    valid: np.ndarray
    future: np.ndarray
    future_mask: np.ndarray
    future_locs: np.ndarray
    future_type: np.ndarray


class AnnotationConverter:
    """Converts annotations, those of some samples at a time: all futures at once take GBs.

    Args:
        lidar2ego, ego2global: [S, 4, 4] poses at the lidar's key frame of each sample.
    """

    def __init__(self, tables: Tables, lidar2ego: np.ndarray, ego2global: np.ndarray) -> None:
        self.tables = tables
        # Two steps, as the devkit does it: differences at global coordinates keep their digits.
        self.to_ego = geometry.invert_pose(ego2global)
        self.to_lidar = geometry.invert_pose(lidar2ego)
        sample = tables.sample_annotation["sample_row"]
        self._order = np.argsort(sample, kind="stable")
        bounds = np.arange(len(tables.sample["token"]) + 1)
        self._bounds = np.searchsorted(sample, bounds, sorter=self._order)
        self._names = [_class_name(name) for name in tables.category["name"]]
        self._is_class = np.array([name in CLASSES for name in self._names], dtype=bool)

    def convert(self, samples: np.ndarray) -> Annotations:
        """The annotations of the sample rows ``samples``."""
        tables, table = self.tables, self.tables.sample_annotation
        starts, ends = self._bounds[samples], self._bounds[samples + 1]
        row = np.concatenate(
            [self._order[a:b] for a, b in zip(starts, ends, strict=True)] or [np.zeros(0, np.int64)]
        )
        sample = table["sample_row"][row]
        to_ego, to_lidar = self.to_ego[sample], self.to_lidar[sample]
        future, future_mask = _follow(table["next_row"], row)
        future_locs = geometry.transform_points(table["translation"][future], to_ego)
        future_locs = geometry.transform_points(future_locs, to_lidar)
        turn = geometry.quaternion_multiply(
            geometry.matrix_to_quaternion(self.to_lidar[samples, :3, :3]),
            geometry.matrix_to_quaternion(self.to_ego[samples, :3, :3]),
        )
        turn = np.repeat(turn, ends - starts, axis=0)
        yaw = _tait_bryan_yaw(geometry.quaternion_multiply(turn, table["rotation"][row]))
        size = table["size"][row]
        boxes = np.concatenate([future_locs[:, 0], size, geometry.yaw_to_rot(yaw)[:, None]], axis=1)
        velocity = _global_velocity(tables, row)
        velocity[:, 2] = 0
        velocity = geometry.rotate_vectors(velocity[:, None], to_ego)
        velocity = geometry.rotate_vectors(velocity, to_lidar)[:, 0, :2]
        category = tables.instance["category_row"][table["instance_row"][row]]
        points = table["num_lidar_pts"][row] + table["num_radar_pts"][row]
        bounds = np.append(0, np.cumsum(ends - starts)).tolist()
        return Annotations(
            row=row,
            slices=[slice(a, b) for a, b in pairwise(bounds)],
            boxes=boxes,
            velocity=velocity,
            names=[self._names[c] for c in category.tolist()],
            valid=(points > 0) & self._is_class[category] if len(row) else np.zeros(0, dtype=bool),
            future=future,
            future_mask=future_mask,
            future_locs=future_locs,
            future_type=_future_type(future_locs, future_mask, velocity, size),
        )


def _class_name(category: str) -> str:
    from nuscenes.eval.detection.utils import category_to_detection_name

    return category_to_detection_name(category) or category


def _tait_bryan_yaw(q: np.ndarray) -> np.ndarray:
    """First angle of the z-y'-x'' convention as pyquaternion computes it.

    It differs from the heading of the x axis for tilted boxes; published infos have this one.
    """
    w, x, y, z = np.moveaxis(q, -1, 0)
    return np.arctan2(2 * (w * z - x * y), 1 - 2 * (y * y + z * z))


def _follow(next_row: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The chains of annotations: rows [n, 13] and the mask of those that are not repeats."""
    future = np.empty((len(row), FUTURE_FRAMES), dtype=np.int64)
    mask = np.ones((len(row), FUTURE_FRAMES), dtype=bool)
    future[:, 0] = row
    for step in range(1, FUTURE_FRAMES):
        following = next_row[future[:, step - 1]]
        mask[:, step] = following >= 0
        future[:, step] = np.where(following >= 0, following, future[:, step - 1])
    return future, mask


def _global_velocity(tables: Tables, rows: np.ndarray) -> np.ndarray:
    """[n, 3] m/s of rows of the table: central differences where both neighbours exist.

    NaN for objects seen once and across gaps (devkit ``NuScenes.box_velocity``).
    """
    table = tables.sample_annotation
    previous, following = table["prev_row"][rows], table["next_row"][rows]
    before = np.where(previous >= 0, previous, rows)
    after = np.where(following >= 0, following, rows)
    time = 1e-6 * tables.sample["timestamp"]
    elapsed = time[table["sample_row"][after]] - time[table["sample_row"][before]]
    neighbours = (before != rows).astype(int) + (after != rows)
    unknown = (neighbours == 0) | (elapsed > MAX_VELOCITY_GAP * neighbours)
    elapsed = np.where(unknown, np.nan, elapsed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (table["translation"][after] - table["translation"][before]) / elapsed[:, None]


def _future_type(
    locs: np.ndarray, mask: np.ndarray, velocity: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """How an object moves on: not by more than its own size, straight on within it, or else."""
    moved = locs[:, -1, :2] - locs[:, 0, :2]
    straight = velocity * (KEY_FRAME_SECONDS * (mask.sum(1, keepdims=True) - 1))
    reach = size[:, :2].max(1, initial=0)
    static = np.linalg.norm(moved, axis=1) <= reach
    linear = np.linalg.norm(moved - straight, axis=1) <= reach
    return np.where(static, STATIC, np.where(linear, LINEAR, OTHER))
