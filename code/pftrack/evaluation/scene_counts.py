"""What each scene adds to the metrics, and bootstrap intervals from it.

Scenes are independent draws, frames are not, so scenes are what is drawn again (Efron & Tibshirani
1993, the percentile interval). The score thresholds stay those of all scenes: then every metric is
a function of sums over scenes, and a thousand draws cost a matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pftrack.evaluation.matching import associate, count_active, find_pairs
from pftrack.evaluation.run import Evaluation
from pftrack.evaluation.tracking_metrics import ClassResult

INTERVAL_METRICS = ("amota", "amotp", "mota", "recall", "fp", "fn", "ids")
CONFIDENCE = 0.95


@dataclass
class SceneCounts:
    """Counts of one class, of S scenes and at T recall thresholds.

    Attributes:
        gt: [S] boxes of the truth.
        detections, switches, false: [T, S] matched boxes, identity switches among them, and
            predictions without a match; 0 where a recall is not reached.
        distance: [T, S] sum over matched boxes, m.
        best: the threshold with the best MOTA.
    """

    gt: np.ndarray
    detections: np.ndarray
    switches: np.ndarray
    false: np.ndarray
    distance: np.ndarray
    best: int

    def errors(self) -> np.ndarray:
        """[S] misses, false positives and identity switches at the best threshold."""
        row = self.best
        return self.gt - self.detections[row] + self.false[row] + self.switches[row]


def scene_counts(evaluation: Evaluation) -> dict[str, SceneCounts]:
    """Counts of every class that the truth has."""
    return {
        name: _class_counts(evaluation, result)
        for name, result in evaluation.tracking.classes.items()
        if len(result.gt)
    }


def _class_counts(evaluation: Evaluation, result: ClassResult) -> SceneCounts:
    frames, config = evaluation.frames, evaluation.tracking.config
    gt, pred = result.gt, result.pred
    scenes = len(frames.scene_names)
    of_gt = frames.scene[gt.frame]
    confidence = result.curves["confidence"]
    reached = np.flatnonzero(~np.isnan(confidence))
    zeros = np.zeros((len(confidence), scenes))
    counts = SceneCounts(
        gt=np.bincount(of_gt, minlength=scenes).astype(float),
        detections=zeros,
        switches=zeros.copy(),
        false=zeros.copy(),
        distance=zeros.copy(),
        best=result.best or 0,
    )
    if not len(reached):
        return counts
    thresholds, which = np.unique(confidence[reached], return_inverse=True)
    pairs = find_pairs(gt, pred, len(frames), config.dist_th_tp)
    found = associate(gt, pred, pairs, frames.step, thresholds, config.dist_th_tp)
    active = count_active(pred, thresholds, len(frames))

    def per_scene(values: np.ndarray, scene: np.ndarray) -> np.ndarray:
        rows = [np.bincount(scene, row, minlength=scenes) for row in values]
        return np.array(rows)[which]

    hit = found.pred >= 0
    counts.detections[reached] = per_scene(hit, of_gt)
    counts.switches[reached] = per_scene(found.switched & hit, of_gt)
    counts.distance[reached] = per_scene(found.distance, of_gt)
    counts.false[reached] = per_scene(active, frames.scene) - counts.detections[reached]
    return counts


def weighted_metrics(
    counts: dict[str, SceneCounts], weights: np.ndarray, worst: dict[str, float]
) -> dict[str, np.ndarray]:
    """:data:`INTERVAL_METRICS` over all classes, each [R].

    Args:
        weights: [R, S] how often each scene counts; all 1: the metrics of the evaluation.
        worst: the configuration's ``metric_worst``, for recalls that are not reached.
    """
    rows = [_class_metrics(c, weights, worst) for c in counts.values()]
    totals: dict[str, np.ndarray] = {}
    for name in INTERVAL_METRICS:
        values = np.array([row[name] for row in rows]).reshape(len(rows), len(weights))
        known = ~np.isnan(values)
        total = np.where(known, values, 0).sum(axis=0)
        if name not in ("fp", "fn", "ids"):
            with np.errstate(invalid="ignore"):
                total = total / known.sum(axis=0)
        totals[name] = total
    return totals


def _class_metrics(
    counts: SceneCounts, weights: np.ndarray, worst: dict[str, float]
) -> dict[str, np.ndarray]:
    total = (weights @ counts.gt)[:, None]  # [R, 1]; the others [R, T]
    columns = (counts.detections, counts.switches, counts.false, counts.distance)
    hits, switches, false, distance = (weights @ column.T for column in columns)
    misses = total - hits
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = (hits - switches) / total
        errors = misses + switches + false
        motar = 1 - (errors - (1 - recall) * total) / (recall * total)
        motar = np.where(recall * total == 0, worst["amota"], np.maximum(0, motar))
        motp = np.where(hits == 0, worst["amotp"], distance / hits)
        best = counts.best
        values = {
            "amota": motar.mean(axis=1),
            "amotp": motp.mean(axis=1),
            "mota": np.maximum(0, 1 - errors[:, best] / total[:, 0]),
            "recall": hits[:, best] / total[:, 0],
            "fp": false[:, best],
            "fn": misses[:, best],
            "ids": switches[:, best],
        }
    return {name: np.where(total[:, 0] == 0, np.nan, value) for name, value in values.items()}


def draw_scenes(count: int, draws: int, seed: int) -> np.ndarray:
    """[draws, count] how often each of ``count`` scenes is in each draw of as many."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), draws)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The percentile interval of :data:`CONFIDENCE`; NaN are left out, none left: NaN."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, (tail, 1 - tail))
    return float(low), float(high)
