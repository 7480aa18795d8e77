"""Where a tracker goes wrong: by range, by visibility, and event by event.

Everything is measured at each class's score threshold of the best MOTA, as the traditional metrics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pftrack.evaluation.run import Evaluation
from pftrack.evaluation.tables import BoxTable
from pftrack.evaluation.tracking_metrics import ClassResult

RANGE_BINS = ((0, 10), (10, 20), (20, 30), (30, 40), (40, 50))  # m from the ego vehicle
VISIBILITY = {1: "0-40 %", 2: "40-60 %", 3: "60-80 %", 4: "80-100 %"}  # nuScenes levels


@dataclass(frozen=True)
class TrackEvent:
    """One identity switch or fragmentation.

    Attributes:
        kind: ``switch``: the object's identity changed at this frame; ``fragmentation``: tracked
            before, missed from this frame on, and tracked again later.
        class_name, scene: names.  step: number of the frame in the scene.  frame: row of the
            frame table.  sample_token: of the frame.
        object_id: instance token.  before, after: track identities in the results file.
        x, y: global position of the object, m.  distance: m from the ego vehicle.
    """

    kind: str
    class_name: str
    scene: str
    step: int
    frame: int
    sample_token: str
    object_id: str
    before: str
    after: str
    x: float
    y: float
    distance: float


def track_events(evaluation: Evaluation) -> list[TrackEvent]:
    """All identity switches and fragmentations, in order of frames."""
    events = []
    for name, result in evaluation.tracking.classes.items():
        if result.outcome is not None:
            events += _class_events(evaluation, name, result)
    return sorted(events, key=lambda e: (e.frame, e.class_name, e.object_id))


def _class_events(evaluation: Evaluation, name: str, result: ClassResult) -> list[TrackEvent]:
    assert result.outcome is not None
    frames, gt, pred = evaluation.frames, result.gt, result.pred
    step = frames.step
    paired, switched = result.outcome.pred[0], result.outcome.switched[0]
    order = np.argsort(gt.track, kind="stable")
    events: list[TrackEvent] = []

    def add(kind: str, row: int, before: int, after: int) -> None:
        frame = int(gt.frame[row])
        x, y = gt.center[row, :2]
        events.append(
            TrackEvent(
                kind=kind,
                class_name=name,
                scene=frames.scene_names[frames.scene[frame]],
                step=int(step[frame]),
                frame=frame,
                sample_token=frames.sample_tokens[frame],
                object_id=gt.track_names[gt.track[row]],
                before=pred.track_names[pred.track[before]],
                after=pred.track_names[pred.track[after]],
                x=float(x),
                y=float(y),
                distance=float(np.hypot(*(gt.center[row, :2] - frames.ego[frame, :2]))),
            )
        )

    last_hit, lost = -1, -1
    for previous, row in zip(np.r_[-1, order[:-1]], order, strict=True):
        if previous < 0 or gt.track[previous] != gt.track[row]:
            last_hit, lost = -1, -1
        if paired[row] < 0:
            if last_hit >= 0 and lost < 0:
                lost = row
            continue
        if lost >= 0:
            add("fragmentation", lost, paired[last_hit], paired[row])
        if switched[row] and last_hit >= 0:
            add("switch", row, paired[last_hit], paired[row])
        last_hit, lost = row, -1
    return events


def range_breakdown(evaluation: Evaluation) -> list[dict]:
    """Per class and range: ``gt``, ``recall``, ``precision``, ``motp`` (m); NaN where undefined."""
    rows = []
    for name, result in evaluation.tracking.classes.items():
        if result.outcome is None:
            continue
        gt_range = _ego_distance(evaluation, result.gt)
        active = _active(result)
        pred_range = _ego_distance(evaluation, result.pred)
        hit = result.outcome.pred[0] >= 0
        used = np.zeros(len(result.pred), bool)
        used[result.outcome.pred[0][hit]] = True
        for low, high in RANGE_BINS:
            here = (gt_range >= low) & (gt_range < high)
            claimed = active & (pred_range >= low) & (pred_range < high)
            rows.append(
                {
                    "class": name,
                    "range": f"{low}-{high} m",
                    "gt": int(here.sum()),
                    "recall": _mean(hit[here]),
                    "precision": _mean(used[claimed]),
                    "motp": _mean(result.outcome.distance[0][here & hit]),
                }
            )
    return rows


def visibility_breakdown(evaluation: Evaluation) -> list[dict]:
    """Per class and nuScenes visibility: ``gt`` and ``recall``; interpolated truth left out."""
    rows = []
    for name, result in evaluation.tracking.classes.items():
        if result.outcome is None:
            continue
        hit = result.outcome.pred[0] >= 0
        for level, label in VISIBILITY.items():
            here = (result.gt.visibility == level) & ~result.gt.interpolated
            rows.append(
                {
                    "class": name,
                    "visibility": label,
                    "gt": int(here.sum()),
                    "recall": _mean(hit[here]),
                }
            )
    return rows


def _active(result: ClassResult) -> np.ndarray:
    """Predictions at or above the threshold of the best MOTA."""
    assert result.best is not None
    return result.pred.score >= result.curves["confidence"][result.best]


def _ego_distance(evaluation: Evaluation, boxes: BoxTable) -> np.ndarray:
    offset = boxes.center[:, :2] - evaluation.frames.ego[boxes.frame, :2]
    return np.hypot(offset[:, 0], offset[:, 1])


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
