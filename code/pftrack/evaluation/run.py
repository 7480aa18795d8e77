"""The fast engine from files to numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pftrack.evaluation.config import TrackingConfig, load_tracking_config
from pftrack.evaluation.ground_truth import GroundTruth, load_ground_truth
from pftrack.evaluation.submission import load_partial_results, load_results
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
        missing: names of the split's scenes that the results file does not have.
    """

    truth: GroundTruth
    frames: FrameTable
    gt: BoxTable
    pred: BoxTable
    tracking: TrackingResult
    meta: dict[str, Any]
    seconds: float
    missing: tuple[str, ...] = ()

    @property
    def partial(self) -> str | None:
        """A line that says which scenes of the split were not there to be evaluated."""
        if not self.missing:
            return None
        here = len(self.frames.scene_names)
        names = ", ".join(self.missing[:5]) + ", ..." * (len(self.missing) > 5)
        return f"partial: {here} of {here + len(self.missing)} scenes (without {names})"


def evaluate_results(
    result_path: str | Path,
    truth: GroundTruth,
    config: TrackingConfig,
    progress: Callable[[str], None] = lambda _class_name: None,
    strict: bool = False,
) -> Evaluation:
    """Tracking metrics of a results file.

    Args:
        strict: the file must have every scene, as the official server demands; otherwise those it
            has are evaluated, and the others named.

    Raises:
        UserError: see :func:`load_results`.
    """
    start = time.perf_counter()
    missing: tuple[str, ...] = ()
    if strict:
        pred, meta = load_results(result_path, truth.frames, config)
    else:
        pred, meta, present = load_partial_results(result_path, truth.frames, config, truth.others)
        if not present.all():
            there = set(np.unique(truth.frames.scene[present]).tolist())
            names = enumerate(truth.frames.scene_names)
            missing = tuple(name for number, name in names if number not in there)
            truth = truth.select(present)
            pred = pred.replace(frame=(np.cumsum(present) - 1)[pred.frame])

    def prepare(boxes: BoxTable) -> BoxTable:
        return filter_boxes(
            boxes, truth.frames, truth.racks, config.class_names, config.class_range
        )

    gt = interpolate_tracks(prepare(truth.boxes), truth.frames)
    pred = interpolate_tracks(mean_track_scores(prepare(pred)), truth.frames)
    tracking = evaluate_tracking(gt, pred, truth.frames, config, progress)
    seconds = time.perf_counter() - start
    return Evaluation(truth, truth.frames, gt, pred, tracking, meta, seconds, missing)


def evaluate_file(
    result_path: str | Path,
    dataroot: str | Path,
    version: str,
    split: str,
    config: TrackingConfig | None = None,
    progress: Callable[[str], None] = lambda _class_name: None,
    strict: bool = False,
) -> Evaluation:
    """Tracking metrics of a results file against the tables of a dataset.

    Args:
        config: None: the official one.  strict: see :func:`evaluate_results`.

    Raises:
        UserError: see :func:`load_ground_truth` and :func:`load_results`.
    """
    config = config or load_tracking_config()
    truth = load_ground_truth(dataroot, version, split, config.class_names)
    return evaluate_results(result_path, truth, config, progress, strict)
