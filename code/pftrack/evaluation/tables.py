"""Boxes as columns: what every stage of the evaluation reads and writes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np


@dataclass
class FrameTable:
    """The key frames under evaluation, scene after scene, in order of time within a scene.

    Attributes:
        sample_tokens: F tokens.
        scene: [F] scene number, non-decreasing.
        timestamp: [F] int64 microseconds.
        ego: [F, 3] ego position in the global frame, m, at the LIDAR_TOP key frame.
        ego_yaw: [F] heading there, rad from the global x axis.
        scene_names, scene_tokens: one per scene number.
    """

    sample_tokens: list[str]
    scene: np.ndarray
    timestamp: np.ndarray
    ego: np.ndarray
    ego_yaw: np.ndarray
    scene_names: list[str]
    scene_tokens: list[str]

    def __len__(self) -> int:
        return len(self.sample_tokens)

    @property
    def step(self) -> np.ndarray:
        """[F] number of each frame within its scene."""
        first = np.searchsorted(self.scene, np.arange(len(self.scene_names)))
        return np.arange(len(self)) - first[self.scene]

    def select(self, keep: np.ndarray) -> FrameTable:
        """The frames [F] ``keep`` says; scenes without any are gone."""
        scenes, numbers = np.unique(self.scene[keep], return_inverse=True)
        rows = np.flatnonzero(keep).tolist()
        return FrameTable(
            sample_tokens=[self.sample_tokens[i] for i in rows],
            scene=numbers,
            timestamp=self.timestamp[keep],
            ego=self.ego[keep],
            ego_yaw=self.ego_yaw[keep],
            scene_names=[self.scene_names[i] for i in scenes],
            scene_tokens=[self.scene_tokens[i] for i in scenes],
        )

    def index(self) -> dict[str, int]:
        """Frame number of each sample token."""
        return {token: i for i, token in enumerate(self.sample_tokens)}


@dataclass
class BoxTable:
    """Boxes, one per row, sorted by frame; within a frame in the order of the file.

    Attributes:
        frame: [N] row of the :class:`FrameTable`.
        track: [N] identity, unique over scenes.
        label: [N] index into the class names of the configuration.
        center: [N, 3] global frame, m.
        shape: [N, 4] width, length, height in m, yaw in rad, global frame; no metric reads it.
        score: [N] in [0, 1], as the metrics use it; ground truth: -1.
        box_score: [N] the box's own score in the file; no metric reads it.
        velocity: [N, 2] m/s in the global frame, NaN when unknown.
        num_pts: [N] lidar and radar points inside; predictions: -1.
        visibility: [N] nuScenes visibility level 1..4; predictions and interpolated boxes: 0.
        forecast: [N, S, 2] displacement of each following step, m; None without forecasts.
        interpolated: [N] True for boxes that fill a gap of their track.
        track_names: identity in the file of each ``track`` number.
    """

    frame: np.ndarray
    track: np.ndarray
    label: np.ndarray
    center: np.ndarray
    shape: np.ndarray
    score: np.ndarray
    box_score: np.ndarray
    velocity: np.ndarray
    num_pts: np.ndarray
    visibility: np.ndarray
    interpolated: np.ndarray
    forecast: np.ndarray | None
    track_names: list[str]

    def __len__(self) -> int:
        return len(self.frame)

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays with one row per box, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v for k, v in values.items() if isinstance(v, np.ndarray)}

    def select(self, rows: np.ndarray) -> BoxTable:
        """The given rows (mask or indices), in the given order."""
        return self.replace(**{k: v[rows] for k, v in self.columns().items()})

    def replace(self, **columns: Any) -> BoxTable:
        """A copy with some columns exchanged."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return BoxTable(**{**values, **columns})

    def frame_offsets(self, num_frames: int) -> np.ndarray:
        """[num_frames + 1]: rows of frame f are ``offsets[f]:offsets[f + 1]``."""
        return np.searchsorted(self.frame, np.arange(num_frames + 1))


def concatenate(first: BoxTable, second: BoxTable) -> BoxTable:
    """Rows of both tables, which share their track numbers."""
    other = second.columns()
    return first.replace(**{k: np.concatenate([v, other[k]]) for k, v in first.columns().items()})
