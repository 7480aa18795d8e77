"""The nuScenes tracking metrics: recall thresholds, CLEAR MOT metrics, AMOTA and AMOTP.

Definitions: Weng & Kitani 2019 ("A Baseline for 3D Multi-Object Tracking"), Bernardin &
Stiefelhagen 2008, and the nuScenes tracking task; the numbers equal nuscenes-devkit 1.2.0
(``TrackingEvaluation``, ``TrackingEval.evaluate``) in every corner case, see ``docs/metrics.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pftrack.evaluation.config import TrackingConfig
from pftrack.evaluation.matching import (
    Association,
    associate,
    count_active,
    find_pairs,
)
from pftrack.evaluation.tables import BoxTable, FrameTable
from pftrack.nuscenes.facts import KEY_FRAME_SECONDS

SUMMED = ("mt", "ml", "tp", "fp", "fn", "ids", "frag")
THRESHOLD_METRICS = (
    *("recall", "motar", "gt", "mota", "motp", "mt", "ml", "faf"),
    *("tp", "fp", "fn", "ids", "frag", "tid", "lgd"),
)
METRICS = ("amota", "amotp", *THRESHOLD_METRICS)


@dataclass
class ClassResult:
    """Metrics of one class.

    Attributes:
        curves: name -> [num_thresholds], from recall 1 down to min_recall; also ``confidence`` and
            ``recall_hypo``. NaN where a recall is not achieved; all NaN without ground truth.
        values: name -> number at the threshold with the best MOTA, and amota / amotp.
        best: index of that threshold; None when there is none.
        gt, pred: the class's boxes; ``outcome`` pairs them at the best threshold (row 0);
            None when no threshold was evaluated.
    """

    curves: dict[str, np.ndarray]
    values: dict[str, float]
    best: int | None
    gt: BoxTable
    pred: BoxTable
    outcome: Association | None = None


@dataclass
class TrackingResult:
    """Metrics of all classes; ``overall`` sums or averages them as the devkit does."""

    config: TrackingConfig
    classes: dict[str, ClassResult]
    overall: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.overall = {}
        for name in METRICS:
            values = np.array([c.values[name] for c in self.classes.values()])
            known = values[~np.isnan(values)]
            if name in SUMMED:
                self.overall[name] = float(known.sum())
            else:
                self.overall[name] = float(known.mean()) if len(known) else float("nan")

    def summary(self) -> dict:
        """The content of the devkit's ``metrics_summary.json``, less run time and meta."""
        labels = {m: {c: r.values[m] for c, r in self.classes.items()} for m in METRICS}
        return {"label_metrics": labels, "cfg": self.config.raw, **self.overall}

    def details(self) -> dict:
        """The content of the devkit's ``metrics_details.json``."""
        return {
            name: {metric: curve.tolist() for metric, curve in result.curves.items()}
            for name, result in self.classes.items()
        }


def evaluate_tracking(
    gt: BoxTable,
    pred: BoxTable,
    frames: FrameTable,
    config: TrackingConfig,
    progress: Callable[[str], None] = lambda _class_name: None,
) -> TrackingResult:
    """Compute all metrics of filtered and interpolated boxes.

    Args:
        progress: called with each class name when the class is done.
    """
    classes = {}
    for label, name in enumerate(config.class_names):
        classes[name] = evaluate_class(
            gt.select(gt.label == label), pred.select(pred.label == label), frames, config
        )
        progress(name)
    return TrackingResult(config, classes)


def evaluate_class(
    gt: BoxTable, pred: BoxTable, frames: FrameTable, config: TrackingConfig
) -> ClassResult:
    """Metrics of the boxes of one class over all recall thresholds."""
    count = config.num_thresholds
    curves = {m: np.full(count, np.nan) for m in ("confidence", "recall_hypo", *THRESHOLD_METRICS)}
    nothing = dict.fromkeys(METRICS, float("nan"))
    if not len(gt):
        return ClassResult(curves, nothing, None, gt, pred)

    pairs = find_pairs(gt, pred, len(frames), config.dist_th_tp)
    step = frames.step

    def run(thresholds: np.ndarray) -> Association:
        return associate(gt, pred, pairs, step, thresholds, config.dist_th_tp)

    every = run(np.array([-np.inf]))
    matched = (every.pred[0] >= 0) & ~every.switched[0]
    scores = pred.score[every.pred[0][matched]]
    if len(scores):
        curves["confidence"], curves["recall_hypo"] = recall_thresholds(scores, len(gt), config)
    confidence = curves["confidence"]
    achieved = ~np.isnan(confidence)
    if not achieved.any():  # no match at all, or fewer than the lowest recall asks for
        for metric in THRESHOLD_METRICS:
            curves[metric][:] = _worst(metric, gt, config)
        return ClassResult(curves, _summarize(curves, config), 0, gt, pred)

    unique, which = np.unique(confidence[achieved], return_inverse=True)
    association = run(unique)
    table = threshold_metrics(gt, pred, association, unique, len(frames))
    for metric in THRESHOLD_METRICS:
        curves[metric][achieved] = table[metric][which]
    values = _summarize(curves, config)
    best = int(np.nanargmax(curves["mota"]))
    row = slice(int(which[best - np.argmax(achieved)]), None)
    outcome = Association(
        association.pred[row][:1], association.switched[row][:1], association.distance[row][:1]
    )
    return ClassResult(curves, values, best, gt, pred, outcome)


def recall_thresholds(
    scores: np.ndarray, num_gt: int, config: TrackingConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Score thresholds at which the recalls 1 .. min_recall would be reached.

    Args:
        scores: track scores of all pairs that are no identity switch, no threshold applied.

    Returns:
        (thresholds, recalls), both [num_thresholds]; NaN for a recall beyond the highest one.
    """
    scores = np.sort(scores)[::-1]
    achieved = np.arange(1, len(scores) + 1) / num_gt
    recall = np.linspace(config.min_recall, 1, config.num_thresholds).round(12)
    thresholds = np.interp(recall, achieved, scores, right=0)
    thresholds[recall > achieved.max()] = np.nan
    return thresholds[::-1].copy(), recall[::-1].copy()


def threshold_metrics(
    gt: BoxTable,
    pred: BoxTable,
    association: Association,
    thresholds: np.ndarray,
    num_frames: int,
) -> dict[str, np.ndarray]:
    """Each metric of :data:`THRESHOLD_METRICS` as [T], NaN where undefined.

    Frame numbers, which time differences are counted in, run over the frames of a scene that hold
    any ground truth or prediction of the class.
    """
    n_active = count_active(pred, thresholds, num_frames)
    occupied = (n_active > 0) | (np.bincount(gt.frame, minlength=num_frames) > 0)
    order = np.argsort(gt.track, kind="stable")
    detected = association.pred >= 0
    switches = (association.switched & detected).sum(axis=1)
    detections = detected.sum(axis=1)
    total = len(gt)
    tp = detections - switches
    fn = total - detections
    fp = n_active.sum(axis=1) - detections
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = tp / total
        motar = 1 - (fn + switches + fp - (1 - recall) * total) / (recall * total)
        table = {
            "recall": detections / total,
            "motar": np.where(recall * total == 0, np.nan, np.maximum(0, motar)),
            "gt": np.full(len(thresholds), total),
            "mota": np.maximum(0, 1.0 - (fn + switches + fp) / total),
            "motp": np.where(
                detections == 0, np.nan, association.distance.sum(axis=1) / detections
            ),
            "faf": fp / occupied.sum(axis=1) * 100,
            "tp": tp,
            "fp": fp,
            "fn": fn,
            "ids": switches,
        }
    frame_id = np.cumsum(occupied, axis=1)
    per_track = [
        _track_metrics(gt.track[order], detected[t, order], frame_id[t, gt.frame[order]])
        for t in range(len(thresholds))
    ]
    for metric in ("mt", "ml", "frag", "tid", "lgd"):
        table[metric] = np.array([row[metric] for row in per_track], float)
    return table


def _track_metrics(
    track: np.ndarray, detected: np.ndarray, frame_id: np.ndarray
) -> dict[str, float]:
    """Metrics that follow each ground-truth track through time.

    Args:
        track: [n] sorted.  detected: [n] bool.  frame_id: [n], increasing within a track.
    """
    index = np.arange(len(track))
    is_first = np.r_[True, track[1:] != track[:-1]]
    start = np.flatnonzero(is_first)
    end = np.r_[start[1:], len(track)] - 1
    length = end - start + 1
    hits = np.add.reduceat(detected.astype(np.int64), start)
    tracked = hits > 0
    ratio = hits / length

    run_starts = detected & (is_first | ~np.r_[False, detected[:-1]])
    first_hit = np.minimum.reduceat(np.where(detected, index, len(track)), start)[tracked]
    last_hit = np.maximum.reduceat(np.where(detected, index, -1), start)[tracked]
    delay = frame_id[first_hit] - frame_id[start[tracked]]

    # Misses before each hit, since the previous one or the track's begin; then those at the end.
    previous = np.maximum.accumulate(np.where(detected, index, -1))
    previous = np.r_[-1, previous[:-1]]
    track_start = np.repeat(start, length)
    begins = previous < track_start
    since = np.where(begins, frame_id[track_start] - 1, frame_id[np.maximum(previous, 0)])
    gap = np.where(detected, frame_id - since - 1, 0)
    longest = np.maximum.reduceat(gap, start)[tracked]
    longest = np.maximum(longest, frame_id[end[tracked]] - frame_id[last_hit])

    count = int(tracked.sum())
    return {
        "mt": float((ratio >= 0.8).sum()),
        "ml": float((ratio < 0.2).sum()),
        "frag": float(run_starts.sum() - count),
        "tid": delay.sum() * KEY_FRAME_SECONDS / count if count else float("nan"),
        "lgd": longest.sum() * KEY_FRAME_SECONDS / count if count else float("nan"),
    }


def _worst(metric: str, gt: BoxTable, config: TrackingConfig) -> float:
    """Value of a metric when no recall is achieved; -1 in ``metric_worst``: depends on the data."""
    value = config.metric_worst[metric]
    if value != -1:
        return value
    if metric == "ml":
        return float(len(np.unique(gt.track)))
    if metric in ("gt", "fn"):
        return float(len(gt))
    return float("nan")  # nobody can say how these errors are distributed


def _summarize(curves: dict[str, np.ndarray], config: TrackingConfig) -> dict[str, float]:
    """Values at the best MOTA (highest recall first), and the averages over all recalls."""
    best = int(np.nanargmax(curves["mota"]))
    values = {metric: float(curves[metric][best]) for metric in THRESHOLD_METRICS}
    for name, metric in (("amota", "motar"), ("amotp", "motp")):
        curve = curves[metric]
        if np.isnan(curve).all():
            values[name] = float("nan")
        else:
            values[name] = float(np.where(np.isnan(curve), config.metric_worst[name], curve).mean())
    return {metric: values[metric] for metric in METRICS}
