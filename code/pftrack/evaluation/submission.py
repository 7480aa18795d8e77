"""Reads a tracking results file and rejects what the official server would reject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from pftrack.errors import UserError
from pftrack.evaluation.config import TrackingConfig
from pftrack.evaluation.tables import BoxTable, FrameTable
from pftrack.geometry import yaw_from_quaternion
from pftrack.nuscenes.results_file import read_results


def load_partial_results(
    path: str | Path,
    frames: FrameTable,
    config: TrackingConfig,
    others: Collection[str] = (),
) -> tuple[BoxTable, dict[str, Any], np.ndarray]:
    """:func:`load_results`, but whole scenes may be missing.

    Args:
        others: sample tokens that are passed over.

    Returns:
        (boxes, meta, present): as there, and [F] which frames the file has.

    Raises:
        UserError: as there; or a part of a scene is missing, or all of them.
    """
    builder, meta = _read(path, frames, config, others)
    return builder.finish(partial=True), meta, builder.present()


def load_results(
    path: str | Path, frames: FrameTable, config: TrackingConfig
) -> tuple[BoxTable, dict[str, Any]]:
    """Read and check a tracking submission for exactly the given frames.

    Returns:
        (boxes, meta): boxes in the order of frames and, within one, of the file.

    Raises:
        UserError: not JSON, truncated, no ``results`` or ``meta``, unknown or missing samples,
            more boxes in a sample than allowed, an identity twice in a sample, unknown class,
            missing field, NaN or infinite number.
    """
    builder, meta = _read(path, frames, config)
    return builder.finish(), meta


def _read(
    path: str | Path, frames: FrameTable, config: TrackingConfig, passed_over: Collection[str] = ()
) -> tuple[_TableBuilder, dict[str, Any]]:
    builder = _TableBuilder(path, frames, config)
    others: dict[str, Any] = {}
    for token, boxes in read_results(path, others):
        if token not in passed_over:
            builder.add_sample(token, boxes)
    if not isinstance(others.get("meta"), dict):
        raise UserError(f"{path}: no 'meta' object in this results file")
    return builder, others["meta"]


class _TableBuilder:
    def __init__(self, path: str | Path, frames: FrameTable, config: TrackingConfig):
        self._path = path
        self._frames = frames
        self._frame_of = frames.index()
        self._label_of = {name: label for label, name in enumerate(config.class_names)}
        self._max_boxes = config.max_boxes_per_sample
        self._tracks: dict[tuple[int, str], int] = {}
        # One tuple of columns per frame.
        self._columns: dict[int, dict[str, np.ndarray]] = {}
        self._forecast: dict[int, np.ndarray] = {}

    def add_sample(self, token: str, boxes: Any) -> None:
        frame = self._frame_of.get(token)
        if frame is None:
            raise self._error(f"sample '{token}' is not in the evaluated split")
        if frame in self._columns:
            raise self._error(f"sample '{token}' occurs twice")
        if len(boxes) > self._max_boxes:
            raise self._error(
                f"sample '{token}' has {len(boxes)} boxes, at most {self._max_boxes} are allowed"
            )
        for i, box in enumerate(boxes):
            self._check(box, token, i)
        ids = [str(box["tracking_id"]) for box in boxes]
        if len(set(ids)) < len(ids):
            twice = Counter(ids).most_common(1)[0][0]
            raise self._error(f"sample '{token}' has two boxes with tracking_id '{twice}'")
        scene = int(self._frames.scene[frame])
        score = np.array([b["tracking_score"] for b in boxes], float)
        self._columns[frame] = {
            "frame": np.full(len(boxes), frame),
            "track": np.array(
                [self._tracks.setdefault((scene, i), len(self._tracks)) for i in ids], np.int64
            ),
            "label": np.array([self._label_of[b["tracking_name"]] for b in boxes], np.int64),
            "center": np.array([b["translation"] for b in boxes], float).reshape(-1, 3),
            "shape": _shapes(boxes),
            "score": score,
            "box_score": score,
            "velocity": np.array([b["velocity"] for b in boxes], float).reshape(-1, 2),
            "num_pts": np.array([b.get("num_pts", -1) for b in boxes], np.int64),
        }
        if boxes and all(b.get("forecasting") is not None for b in boxes):
            self._forecast[frame] = self._forecasts(token, boxes)

    def present(self) -> np.ndarray:
        """[F] the frames that the file has."""
        return np.isin(np.arange(len(self._frames)), list(self._columns))

    def finish(self, partial: bool = False) -> BoxTable:
        """All boxes; ``partial``: whole scenes may be missing, but not all."""
        present = self.present()
        scenes = self._frames.scene
        wanted = np.isin(scenes, scenes[present]) if partial and present.any() else present | True
        missing = [self._frames.sample_tokens[i] for i in np.flatnonzero(wanted & ~present)]
        if missing:
            raise self._error(
                f"{len(missing)} of {len(self._frames)} samples of the split are missing, the "
                f"first is '{missing[0]}' (a sample without boxes needs an empty list)"
            )
        parts = [self._columns[frame] for frame in np.flatnonzero(present).tolist()]
        columns = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        count = len(columns["frame"])
        return BoxTable(
            **columns,
            visibility=np.zeros(count, np.int64),
            interpolated=np.zeros(count, bool),
            forecast=self._all_forecasts(
                {f: len(self._columns[f]["frame"]) for f in np.flatnonzero(present).tolist()}
            ),
            track_names=[name for _scene, name in self._tracks],
        )

    def _check(self, box: dict[str, Any], token: str, i: int) -> None:
        """What a box of a tracker must have; its values are checked where the file is read."""
        where = f"box {i} of sample '{token}'"
        for name in ("velocity", "tracking_score", "tracking_id"):
            if box.get(name) is None:
                raise self._error(f"{where}: no {name}")
        if box.get("tracking_name") not in self._label_of:
            raise self._error(f"{where}: unknown tracking_name {box.get('tracking_name')!r}")

    def _forecasts(self, token: str, boxes: list[dict[str, Any]]) -> np.ndarray:
        steps = {len(b["forecasting"]) for b in boxes}
        if len(steps) > 1 or steps == {0}:
            raise self._error(
                f"sample '{token}': forecasting must be the same number of finite (x, y) steps "
                "in every box"
            )
        values = np.array([b["forecasting"] for b in boxes], float)
        return values

    def _all_forecasts(self, counts: dict[int, int]) -> np.ndarray | None:
        """[N, S, 2] when every box has a forecast of S steps, else None."""
        steps = {values.shape[1] for values in self._forecast.values()}
        if len(steps) != 1 or any(n and f not in self._forecast for f, n in counts.items()):
            return None
        return np.concatenate([self._forecast[f] for f, n in counts.items() if n])

    def _error(self, message: str) -> UserError:
        return UserError(f"{self._path}: {message}")


def _shapes(boxes: list[dict[str, Any]]) -> np.ndarray:
    """[n, 4] width, length, height in m, yaw in rad."""
    size = np.array([b["size"] for b in boxes], float).reshape(-1, 3)
    rotation = np.array([b["rotation"] for b in boxes], float).reshape(-1, 4)
    return np.c_[size, yaw_from_quaternion(rotation)]
