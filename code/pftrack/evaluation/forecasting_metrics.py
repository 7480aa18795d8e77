"""How good the forecasts of tracked objects are.

Displacement errors over the first 1, 2, 3, 4 s of the true positives (nuScenes prediction task,
Caesar et al. 2020), and the end-to-end prediction accuracy EPA of ViP3D (Gu et al., CVPR 2023),
which also charges missed objects and ghosts. Formulas: ``docs/metrics.md``. The tracker gives one
future per object, so the minimum over futures in "minADE" is over a single one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pftrack.evaluation.run import Evaluation
from pftrack.evaluation.tables import BoxTable
from pftrack.nuscenes.facts import KEY_FRAME_SECONDS

STEPS_PER_HORIZON = {s: round(s / KEY_FRAME_SECONDS) for s in (1, 2, 3, 4)}  # s -> key frames
MISS_DISTANCE = 2.0  # m, final displacement
EPA_ALPHA = 0.5  # weight of a false positive in EPA
METRICS = {"minADE": "minADE", "minFDE": "minFDE", "MR": "MR@2m", "EPA": "EPA"}  # name -> heading
PREDICTORS = ("model", "constant_velocity", "stand_still")


@dataclass
class Futures:
    """Where annotated objects go.

    Attributes:
        position: [N, S, 2] global centre at each of the next S key frames, m.
        known: [N, S] True where annotated.
    """

    position: np.ndarray
    known: np.ndarray


def annotated_futures(boxes: BoxTable, num_frames: int, steps: int) -> Futures:
    """Look up the next ``steps`` key frames of every annotation."""
    key = boxes.track * num_frames + boxes.frame
    order = np.argsort(key)
    position = np.zeros((len(boxes), steps, 2))
    known = np.zeros((len(boxes), steps), bool)
    for s in range(steps):
        wanted = key + s + 1
        at = np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)
        row = order[at] if len(key) else at
        known[:, s] = (key[row] == wanted) & (boxes.frame + s + 1 < num_frames)
        position[known[:, s], s] = boxes.center[row[known[:, s]], :2]
    return Futures(position, known)


def predicted_positions(boxes: BoxTable, predictor: str, steps: int) -> np.ndarray | None:
    """[N, S, 2] positions that a predictor expects, m; None when the boxes have no forecast.

    Args:
        predictor: ``model``: the file's forecasts; ``constant_velocity``: the tracker's own
            velocity kept; ``stand_still``.
    """
    start = boxes.center[:, None, :2]
    if predictor == "stand_still":
        return np.broadcast_to(start, (len(boxes), steps, 2))
    if predictor == "constant_velocity":
        seconds = KEY_FRAME_SECONDS * np.arange(1, steps + 1)
        return start + np.nan_to_num(boxes.velocity)[:, None] * seconds[:, None]
    if boxes.forecast is None or boxes.forecast.shape[1] < steps:
        return None
    return start + np.cumsum(boxes.forecast[:, :steps], axis=1)


def evaluate_forecasts(evaluation: Evaluation) -> dict[str, dict]:
    """All metrics as ``{class: {predictor: {"1s": {metric: value, "count": n}}}}``.

    Each class is taken at the score threshold of its best MOTA. Interpolated boxes take no part.
    ``all`` averages over classes that have a value. NaN: nothing to measure.
    """
    frames, truth = evaluation.frames, evaluation.truth.boxes
    steps = max(STEPS_PER_HORIZON.values())
    futures = annotated_futures(truth, len(frames), steps)
    key = truth.track * len(frames) + truth.frame
    order = np.argsort(key)

    last = np.searchsorted(frames.scene, frames.scene, side="right") - 1
    frames_left = last - np.arange(len(frames))

    table: dict[str, dict] = {}
    for name, result in evaluation.tracking.classes.items():
        rows = np.flatnonzero(~result.gt.interpolated)
        gt_key = result.gt.track[rows] * len(frames) + result.gt.frame[rows]
        source = order[np.searchsorted(key[order], gt_key)]
        own = Futures(futures.position[source], futures.known[source])
        if result.outcome is None or result.best is None:
            paired = np.full(len(rows), -1)
            ghosts = np.zeros(0, np.int64)
        else:
            paired = result.outcome.pred[0][rows]
            real = ~result.pred.interpolated
            active = real & (result.pred.score >= result.curves["confidence"][result.best])
            active[result.outcome.pred[0][result.outcome.pred[0] >= 0]] = False
            ghosts = result.pred.frame[active]
            paired = np.where((paired >= 0) & real[paired], paired, -1)
        table[name] = {
            predictor: _class_metrics(result.pred, predictor, paired, own, frames_left[ghosts])
            for predictor in PREDICTORS
            if predictor != "model" or result.pred.forecast is not None
        }
    table["all"] = _average(table)
    return table


def _class_metrics(
    pred: BoxTable, predictor: str, paired: np.ndarray, futures: Futures, ghosts: np.ndarray
) -> dict[str, dict[str, float]]:
    """Metrics by horizon.

    Args:
        paired: prediction row of each ground truth or -1.
        ghosts: for each false positive, the number of frames that follow in its scene.
    """
    table = {}
    for seconds, steps in STEPS_PER_HORIZON.items():
        complete = futures.known[:, :steps].all(axis=1)
        measured = complete & (paired >= 0)
        expected = predicted_positions(pred.select(paired[measured]), predictor, steps)
        if expected is None:
            continue
        error = np.linalg.norm(expected - futures.position[measured, :steps], axis=-1)
        final = error[:, -1]
        row = dict.fromkeys(METRICS, float("nan"))
        if len(error):
            row["minADE"] = float(error.mean())
            row["minFDE"] = float(final.mean())
            row["MR"] = float((final > MISS_DISTANCE).mean())
        if complete.any():
            hits = int((final <= MISS_DISTANCE).sum())
            charged = EPA_ALPHA * int((ghosts >= steps).sum())
            row["EPA"] = (hits - charged) / int(complete.sum())
        table[f"{seconds}s"] = {**row, "count": float(len(error))}
    return table


def _average(table: dict[str, dict]) -> dict[str, dict]:
    """Mean over classes, NaN left out; counts are summed."""
    result: dict[str, dict] = {}
    for predictor in PREDICTORS:
        classes = [c[predictor] for c in table.values() if predictor in c]
        for horizon in {h for c in classes for h in c}:
            rows = [c[horizon] for c in classes if horizon in c]
            mean = {}
            for metric in METRICS:
                values = [row[metric] for row in rows if not np.isnan(row[metric])]
                mean[metric] = float(np.mean(values)) if values else float("nan")
            mean["count"] = sum(row["count"] for row in rows)
            result.setdefault(predictor, {})[horizon] = mean
    return {p: dict(sorted(by_horizon.items())) for p, by_horizon in result.items()}
