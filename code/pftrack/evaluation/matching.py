"""CLEAR MOT association of one class, for many score thresholds and all scenes at once.

The rules are those of motmetrics 1.4.0 ``MOTAccumulator.update`` as the nuScenes devkit uses it
(Bernardin & Stiefelhagen 2008): in every frame, pairs of earlier frames are kept first, in the
order of the ground truth; the rest is a linear assignment in which pairs at 2 m or more are
excluded. What a ground truth was last paired with is remembered for ever.

Scenes are independent of each other and so are thresholds, so the loop runs over the n-th frame of
every scene together, and each step is a handful of array operations over [thresholds, pairs]. Only
frames in which several boxes compete for each other need the assignment solver.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from pftrack.evaluation.tables import BoxTable


@dataclass
class Pairs:
    """Ground truth and predictions of one frame that are close enough, G x P pairs in all.

    Sorted by frame, then ground-truth row, then prediction row.

    Attributes:
        gt, pred: [K] rows of the two tables.  frame: [K].
        distance: [K] m.
        distance_alone: [K] m; the value when the prediction is the only one of its frame.
    """

    gt: np.ndarray
    pred: np.ndarray
    frame: np.ndarray
    distance: np.ndarray
    distance_alone: np.ndarray


@dataclass
class Association:
    """Outcome for T thresholds and n ground-truth boxes.

    Attributes:
        pred: [T, n] row of the prediction the box is paired with, -1: missed.
        switched: [T, n] True where the identity differs from the box's last one.
        distance: [T, n] m, 0 where missed.
    """

    pred: np.ndarray
    switched: np.ndarray
    distance: np.ndarray


def find_pairs(gt: BoxTable, pred: BoxTable, num_frames: int, max_distance: float) -> Pairs:
    """All pairs of a frame nearer than ``max_distance`` in the ground plane.

    The distance is computed with the expansion |a|² + |b|² - 2ab of scikit-learn's
    ``euclidean_distances``, matrix product included, because the devkit does so: at coordinates
    of 1 km it is off by up to 0.1 mm near zero, which shows in MOTP.
    """
    xy_gt, xy_pred = gt.center[:, :2].copy(), pred.center[:, :2].copy()
    sq_gt = xy_gt[:, 0] * xy_gt[:, 0] + xy_gt[:, 1] * xy_gt[:, 1]
    sq_pred = xy_pred[:, 0] * xy_pred[:, 0] + xy_pred[:, 1] * xy_pred[:, 1]

    def distances(g: slice, p: slice) -> np.ndarray:
        squared = -2 * (xy_gt[g] @ xy_pred[p].T)
        squared += sq_gt[g, None]
        squared += sq_pred[None, p]
        return np.sqrt(np.maximum(squared, 0, out=squared), out=squared)

    g_at, p_at = gt.frame_offsets(num_frames), pred.frame_offsets(num_frames)
    parts = []
    for f in np.flatnonzero((np.diff(g_at) > 0) & (np.diff(p_at) > 0)):
        g0, p0 = g_at[f], p_at[f]
        g, p = slice(g0, g_at[f + 1]), slice(p0, p_at[f + 1])
        together = distances(g, p)
        # Matrix-vector and matrix-matrix products round differently. The prediction that can be
        # the only one above a threshold is the one with the highest score.
        best = int(np.argmax(pred.score[p]))
        alone = together.copy()
        alone[:, best : best + 1] = distances(g, slice(p0 + best, p0 + best + 1))
        rows, cols = np.nonzero((together < max_distance) | (alone < max_distance))
        parts.append((rows + g0, cols + p0, together[rows, cols], alone[rows, cols]))
    if not parts:
        empty = np.zeros(0, np.intp)
        return Pairs(empty, empty, empty, np.zeros(0), np.zeros(0))
    gt_row, pred_row, distance, alone = (np.concatenate(c) for c in zip(*parts, strict=True))
    return Pairs(gt_row, pred_row, gt.frame[gt_row], distance, alone)


def count_active(pred: BoxTable, thresholds: np.ndarray, num_frames: int) -> np.ndarray:
    """[T, num_frames] predictions at or above each threshold in each frame."""
    return np.stack(
        [np.bincount(pred.frame[pred.score >= t], minlength=num_frames) for t in thresholds]
    )


def associate(
    gt: BoxTable,
    pred: BoxTable,
    pairs: Pairs,
    step_of_frame: np.ndarray,
    thresholds: np.ndarray,
    max_distance: float,
) -> Association:
    """Pair predictions with score >= threshold with the ground truth, frame after frame.

    Args:
        gt, pred: boxes of one class; ``track`` numbers are unique over scenes.
        step_of_frame: [F] number of each frame within its scene.
        thresholds: [T]; -inf keeps everything.
    """
    num_frames = len(step_of_frame)
    n_active = count_active(pred, thresholds, num_frames)
    solver = _FrameSolver(gt, pred, thresholds, num_frames)
    shape = (len(thresholds), len(gt))
    result = Association(np.full(shape, -1, np.int32), np.zeros(shape, bool), np.zeros(shape))
    n_tracks = int(gt.track.max()) + 1 if len(gt) else 0
    last_pair = np.full((len(thresholds), n_tracks), -1, np.int64)

    def accept(t: np.ndarray, g: np.ndarray, p: np.ndarray, distance: np.ndarray) -> None:
        result.pred[t, g] = p
        result.distance[t, g] = distance
        before = last_pair[t, gt.track[g]]
        result.switched[t, g] = (before != -1) & (before != pred.track[p])
        last_pair[t, gt.track[g]] = pred.track[p]

    step = step_of_frame[pairs.frame]
    order = np.argsort(step, kind="stable")
    bounds = np.searchsorted(step[order], np.arange(step_of_frame.max(initial=0) + 2))
    for start, stop in pairwise(bounds):
        rows = order[start:stop]
        if not len(rows):
            continue
        g, p, frame = pairs.gt[rows], pairs.pred[rows], pairs.frame[rows]
        row, col = _dense_index(g), _dense_index(p)
        n_row, n_col = row.max() + 1, col.max() + 1
        distance = np.where(
            n_active[:, frame] == 1, pairs.distance_alone[rows], pairs.distance[rows]
        )
        active = (pred.score[p] >= thresholds[:, None]) & (distance < max_distance)

        # 1. Pairs of earlier frames; a prediction claimed twice goes to the first ground truth.
        t, k = np.nonzero(active & (last_pair[:, gt.track[g]] == pred.track[p]))
        claim = t * n_col + col[k]
        first = np.empty(len(thresholds) * n_col, np.int64)
        first[claim[::-1]] = np.arange(len(claim))[::-1]
        won = first[claim] == np.arange(len(claim))
        t, k = t[won], k[won]
        accept(t, g[k], p[k], distance[t, k])
        taken_row = np.zeros((len(thresholds), n_row), bool)
        taken_col = np.zeros((len(thresholds), n_col), bool)
        taken_row[t, row[k]] = True
        taken_col[t, col[k]] = True

        # 2. The rest: at once where nothing competes, by assignment elsewhere.
        active &= ~taken_row[:, row] & ~taken_col[:, col]
        t, k = np.nonzero(active)
        in_row = np.bincount(t * n_row + row[k])[t * n_row + row[k]]
        in_col = np.bincount(t * n_col + col[k])[t * n_col + col[k]]
        single = (in_row == 1) & (in_col == 1)
        where = t * num_frames + frame[k]
        disputed = np.unique(where[~single])
        single &= ~np.isin(where, disputed)
        accept(t[single], g[k[single]], p[k[single]], distance[t[single], k[single]])
        for lo, hi in zip(
            np.searchsorted(where, disputed),
            np.searchsorted(where, disputed, side="right"),
            strict=True,
        ):
            th, ks = t[lo], k[lo:hi]
            d = distance[th, ks]
            chosen = solver.solve(th, frame[ks[0]], g[ks], p[ks], d)
            ks, d = ks[chosen], d[chosen]
            accept(np.full(len(ks), th), g[ks], p[ks], d)
    return result


class _FrameSolver:
    """Assigns the open pairs of one frame as motmetrics does, ties included.

    The cost matrix has a row for every ground truth and a column for every prediction above the
    threshold, whether they are still open or not, because which of two equally good solutions
    scipy returns depends on the matrix.
    """

    def __init__(self, gt: BoxTable, pred: BoxTable, thresholds: np.ndarray, num_frames: int):
        self._gt_at = gt.frame_offsets(num_frames)
        self._pred_at = pred.frame_offsets(num_frames)
        self._score = pred.score
        self._thresholds = thresholds

    def solve(
        self, t: int, frame: int, gt: np.ndarray, pred: np.ndarray, distance: np.ndarray
    ) -> np.ndarray:
        """[m] mask of the chosen pairs among the m open ones."""
        p0, p1 = self._pred_at[frame], self._pred_at[frame + 1]
        columns = np.cumsum(self._score[p0:p1] >= self._thresholds[t])
        n_row, n_col = self._gt_at[frame + 1] - self._gt_at[frame], columns[-1]
        row, col = gt - self._gt_at[frame], columns[pred - p0] - 1
        # An excluded pair costs more than any set of allowed ones (motmetrics' constant).
        excluded = 2 * min(n_row, n_col) * (distance.max() + 1) + 1
        cost = np.full((n_row, n_col), excluded)
        cost[row, col] = distance
        assigned_col = np.full(n_row, -1)
        rows, cols = linear_sum_assignment(cost)
        assigned_col[rows] = cols
        return assigned_col[row] == col


def _dense_index(values: np.ndarray) -> np.ndarray:
    """[n] numbers 0..k-1, equal where the values are equal."""
    return np.unique(values, return_inverse=True)[1]
