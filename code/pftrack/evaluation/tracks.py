"""From raw boxes to the tracks that are compared: filters, track scores, interpolation.

Each function states the devkit function (nuscenes-devkit 1.2.0) whose result it reproduces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pftrack.evaluation.tables import BoxTable, FrameTable, concatenate

BIKE_RACK_CLASSES = ("bicycle", "motorcycle")


@dataclass
class BikeRacks:
    """Bicycle racks of the evaluated frames.

    Attributes:
        frame: [R] row of the frame table, non-decreasing.
        center: [R, 3] m.  size: [R, 3] width, length, height, m.  rotation: [R, 4] (w, x, y, z).
    """

    frame: np.ndarray
    center: np.ndarray
    size: np.ndarray
    rotation: np.ndarray


def filter_boxes(
    boxes: BoxTable,
    frames: FrameTable,
    racks: BikeRacks,
    class_names: tuple[str, ...],
    class_range: dict[str, float],
) -> BoxTable:
    """Drop boxes out of range, boxes without points, cycles in a rack (``filter_eval_boxes``)."""
    offset = boxes.center[:, :2] - frames.ego[boxes.frame, :2]
    distance = np.sqrt(offset[:, 0] ** 2 + offset[:, 1] ** 2)
    limit = np.array([class_range[name] for name in class_names])
    boxes = boxes.select((distance < limit[boxes.label]) & (boxes.num_pts != 0))

    cycles = [class_names.index(name) for name in BIKE_RACK_CLASSES if name in class_names]
    is_cycle = np.isin(boxes.label, cycles)
    keep = np.ones(len(boxes), bool)
    start = np.searchsorted(boxes.frame, racks.frame, side="left")
    stop = np.searchsorted(boxes.frame, racks.frame, side="right")
    for rack in np.flatnonzero(start < stop).tolist():
        rows = np.arange(start[rack], stop[rack])
        rows = rows[is_cycle[rows]]
        keep[rows[_in_rack(racks, rack, boxes.center[rows])]] = False
    return boxes.select(keep)


def _in_rack(racks: BikeRacks, rack: int, points: np.ndarray) -> np.ndarray:
    """[n] True for points inside the rack, faces included (devkit ``points_in_box``)."""
    w, x, y, z = racks.rotation[rack] / np.linalg.norm(racks.rotation[rack])
    axes = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)],
            [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)],
            [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    half = racks.size[rack][[1, 0, 2]] / 2  # length along x, width along y, height along z
    inside = np.abs((points - racks.center[rack]) @ axes.T) <= half
    return inside.all(axis=1)


def mean_track_scores(boxes: BoxTable) -> BoxTable:
    """Give every box the mean score of its track (first half of ``create_tracks``).

    The mean is taken over the boxes left by the filters, in order of time, before interpolation.
    """
    order = np.argsort(boxes.track, kind="stable")
    score = boxes.score[order]
    bounds = np.flatnonzero(np.diff(boxes.track[order])) + 1
    means = np.empty(len(boxes))
    for start, stop in zip(np.r_[0, bounds], np.r_[bounds, len(boxes)], strict=True):
        if start < stop:
            means[start:stop] = np.mean(score[start:stop])
    result = np.empty(len(boxes))
    result[order] = means
    return boxes.replace(score=result)


def interpolate_tracks(boxes: BoxTable, frames: FrameTable) -> BoxTable:
    """Fill the gaps of every track (``interpolate_tracks``, ``interpolate_tracking_boxes``).

    A new box lies on the line between its neighbours and has the class of the later one. As in
    the devkit, the weight of the later neighbour is its own time distance divided by the gap (so
    that a box shortly after the earlier neighbour lies close to the later one); new boxes follow
    the original ones of their frame, in the order in which their tracks first appear.
    """
    order = np.argsort(boxes.track, kind="stable")
    left, right = order[:-1], order[1:]
    same = boxes.track[left] == boxes.track[right]
    gap = np.where(same, boxes.frame[right] - boxes.frame[left] - 1, 0)
    left, right, gap = left[gap > 0], right[gap > 0], gap[gap > 0]
    if not len(left):
        return boxes
    left, right = np.repeat(left, gap), np.repeat(right, gap)
    nth = np.arange(len(left)) - np.repeat(np.cumsum(gap) - gap, gap)
    frame = boxes.frame[left] + 1 + nth
    time = frames.timestamp
    later = time[boxes.frame[right]]
    weight = (later - time[frame]).astype(float) / (later - time[boxes.frame[left]])

    def blend(values: np.ndarray) -> np.ndarray:
        w = weight.reshape(-1, *[1] * (values.ndim - 1))
        return (1.0 - w) * values[left] + w * values[right]

    new = boxes.select(right)
    new = new.replace(
        frame=frame,
        center=blend(boxes.center),
        score=blend(boxes.score),
        velocity=blend(boxes.velocity),
        num_pts=np.full(len(frame), -1),
        visibility=np.zeros(len(frame), boxes.visibility.dtype),
        interpolated=np.ones(len(frame), bool),
    )
    first_row = np.full(boxes.track.max() + 1, len(boxes))
    np.minimum.at(first_row, boxes.track, np.arange(len(boxes)))
    new = new.select(np.lexsort((first_row[new.track], new.frame)))
    merged = concatenate(boxes, new)
    return merged.select(np.argsort(merged.frame, kind="stable"))
