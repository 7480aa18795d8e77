"""The fast engine from files to numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pftrack.evaluation.config import TrackingConfig, load_tracking_config
from pftrack.evaluation.ground_truth import GroundTruth, load_ground_truth
from pftrack.evaluation.submission import load_results
from pftrack.evaluation.tables import BoxTable, FrameTable
from pftrack.evaluation.tracking_metrics import TrackingResult, evaluate_tracking
from pftrack.evaluation.tracks import (
    filter_boxes,
    interpolate_tracks,
    mean_track_scores,
)


@dataclass
class Evaluation:
    """Metrics and the boxes they were computed from.

    Attributes:
        gt, pred: filtered and interpolated boxes.  meta: of the results file.  seconds: spent.
    """

    truth: GroundTruth
    frames: FrameTable
    gt: BoxTable
    pred: BoxTable
    tracking: TrackingResult
    meta: dict[str, Any]
    seconds: float


def evaluate_results(
    result_path: str | Path,
    truth: GroundTruth,
    config: TrackingConfig,
    progress: Callable[[str], None] = lambda _class_name: None,
) -> Evaluation:
    """Tracking metrics of a results file.

    Raises:
        UserError: see :func:`load_results`.
    """
    start = time.perf_counter()
    pred, meta = load_results(result_path, truth.frames, config)

    def prepare(boxes: BoxTable) -> BoxTable:
        return filter_boxes(
            boxes, truth.frames, truth.racks, config.class_names, config.class_range
        )

    gt = interpolate_tracks(prepare(truth.boxes), truth.frames)
    pred = interpolate_tracks(mean_track_scores(prepare(pred)), truth.frames)
    tracking = evaluate_tracking(gt, pred, truth.frames, config, progress)
    return Evaluation(truth, truth.frames, gt, pred, tracking, meta, time.perf_counter() - start)


def evaluate_file(
    result_path: str | Path,
    dataroot: str | Path,
    version: str,
    split: str,
    config: TrackingConfig | None = None,
    progress: Callable[[str], None] = lambda _class_name: None,
) -> Evaluation:
    """Tracking metrics of a results file against the tables of a dataset.

    Args:
        config: None: the official one.

    Raises:
        UserError: see :func:`load_ground_truth` and :func:`load_results`.
    """
    config = config or load_tracking_config()
    truth = load_ground_truth(dataroot, version, split, config.class_names)
    return evaluate_results(result_path, truth, config, progress)
