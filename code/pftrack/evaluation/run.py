"""The fast engine from files to numbers, and numbers to files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pftrack.evaluation.config import TrackingConfig
from pftrack.evaluation.ground_truth import GroundTruth
from pftrack.evaluation.submission import load_results
from pftrack.evaluation.tables import BoxTable, FrameTable
from pftrack.evaluation.tracking_metrics import TrackingResult, evaluate_tracking
from pftrack.evaluation.tracks import (
    filter_boxes,
    interpolate_tracks,
    mean_track_scores,
)
from pftrack.files import write_json


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


def write_metrics(evaluation: Evaluation, out_dir: str | Path) -> dict[str, Any]:
    """Write ``metrics_summary.json`` and ``metrics_details.json`` as the devkit does.

    Returns:
        the summary.
    """
    tracking = evaluation.tracking
    summary = {**tracking.summary(), "meta": evaluation.meta, "eval_time": evaluation.seconds}
    write_json(Path(out_dir) / "metrics_summary.json", summary)
    write_json(Path(out_dir) / "metrics_details.json", tracking.details())
    return summary
