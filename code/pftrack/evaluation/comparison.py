"""Several results files of the same scenes, side by side: the first is what others differ from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pftrack.errors import UserError
from pftrack.evaluation.analysis import range_breakdown
from pftrack.evaluation.run import Evaluation
from pftrack.evaluation.scene_counts import (
    CONFIDENCE,
    INTERVAL_METRICS,
    SceneCounts,
    draw_scenes,
    interval,
    scene_counts,
    weighted_metrics,
)
from pftrack.evaluation.text import align, format_metric
from pftrack.evaluation.tracking_metrics import METRICS

OBJECTS_LISTED = 30


@dataclass(frozen=True)
class ObjectChange:
    """An annotated object that one file follows longer than the first file does.

    Attributes:
        class_name, scene: names.  object_id: instance token.
        frames: in which it is annotated (gaps filled).
        hits: frames in which each file has it, at the threshold of the class's best MOTA.
        change: frames that this file has it more often than the first.
        frame: row of the frame table where they differ first.  step: its number in the scene.
        x, y: global position then, m.
        tracks: identity in each file then; empty: missed.
    """

    class_name: str
    scene: str
    object_id: str
    frames: int
    hits: tuple[int, ...]
    change: int
    frame: int
    step: int
    x: float
    y: float
    tracks: tuple[str, ...]


def short_names(paths: list[Path]) -> list[str]:
    """The shortest ends of paths that tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-length:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    raise UserError(f"the same results file twice: {paths[0]}")


def compare(
    evaluations: list[Evaluation], names: list[str], draws: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Everything that the table, the page and the JSON file say.

    Args:
        evaluations: at least two, of the same truth.  names: one each.
        draws: of the bootstrap.

    Raises:
        UserError: the files do not have the same scenes.
    """
    first = evaluations[0].frames.scene_names
    for name, evaluation in zip(names, evaluations, strict=True):
        other = set(first) ^ set(evaluation.frames.scene_names)
        if other:
            raise UserError(
                f"'{names[0]}' and '{name}' are not of the same scenes ({min(other)} is in one of "
                "them only): name those that both have with SPLIT=FILE"
            )
    counts = [scene_counts(evaluation) for evaluation in evaluations]
    return {
        "names": names,
        "scenes": len(first),
        "confidence": CONFIDENCE,
        "draws": draws,
        "metrics": _metric_rows(evaluations),
        "intervals": _interval_rows(evaluations, counts, draws, seed) if len(first) > 1 else [],
        "classes": _class_rows(evaluations),
        "ranges": _range_rows(evaluations),
        "by_scene": _scene_rows(first, counts),
        "objects": [
            {"name": name, "changes": [asdict(o) for o in _listed(object_changes(evaluations, i))]}
            for i, name in enumerate(names)
            if i
        ],
    }


def _metric_rows(evaluations: list[Evaluation]) -> list[dict[str, Any]]:
    return [
        {"metric": name, "values": [e.tracking.overall[name] for e in evaluations]}
        for name in METRICS
    ]


def _class_rows(evaluations: list[Evaluation]) -> list[dict[str, Any]]:
    return [
        {
            "class": label,
            **{
                metric: [e.tracking.classes[label].values[metric] for e in evaluations]
                for metric in ("amota", "amotp", "mota", "recall", "ids", "frag")
            },
        }
        for label in evaluations[0].tracking.classes
    ]


def _interval_rows(
    evaluations: list[Evaluation], counts: list[dict[str, SceneCounts]], draws: int, seed: int
) -> list[dict[str, Any]]:
    """Per metric: every file's interval, and that of its difference from the first (paired)."""
    worst = evaluations[0].tracking.config.metric_worst
    weights = draw_scenes(len(evaluations[0].frames.scene_names), draws, seed)
    once = np.ones((1, weights.shape[1]))
    drawn = [weighted_metrics(c, weights, worst) for c in counts]
    whole = [weighted_metrics(c, once, worst) for c in counts]
    rows = []
    for name in INTERVAL_METRICS:
        cells = []
        for here, values in zip(whole, drawn, strict=True):
            low, high = interval(values[name])
            d_low, d_high = interval(values[name] - drawn[0][name])
            cells.append(
                {
                    "value": float(here[name][0]),
                    "low": low,
                    "high": high,
                    "difference": float(here[name][0] - whole[0][name][0]),
                    "difference_low": d_low,
                    "difference_high": d_high,
                }
            )
        rows.append({"metric": name, "files": cells})
    return rows


def _range_rows(evaluations: list[Evaluation]) -> list[dict[str, Any]]:
    """Recall, precision and MOTP by class and distance; a file without a class has NaN."""
    nothing = dict.fromkeys(("recall", "precision", "motp"), float("nan"))
    tables = [{(r["class"], r["range"]): r for r in range_breakdown(e)} for e in evaluations]
    keys = dict.fromkeys(key for table in tables for key in table)
    rows = []
    for key in keys:
        cells = [table.get(key, nothing) for table in tables]
        gt = next(table[key]["gt"] for table in tables if key in table)
        rows.append(
            {
                "class": key[0],
                "range": key[1],
                "gt": gt,
                **{metric: [cell[metric] for cell in cells] for metric in nothing},
            }
        )
    return rows


def _scene_rows(names: list[str], counts: list[dict[str, SceneCounts]]) -> list[dict[str, Any]]:
    """Per scene, over all classes: boxes, and each file's misses, false boxes and switches."""
    zero = np.zeros(len(names))
    gt = sum((c.gt for c in counts[0].values()), zero)

    def added(pick: Any) -> list[np.ndarray]:
        return [sum((pick(c) for c in file.values()), zero) for file in counts]

    errors = added(SceneCounts.errors)
    false = added(lambda c: c.false[c.best])
    switches = added(lambda c: c.switches[c.best])
    misses = added(lambda c: c.gt - c.detections[c.best])
    rows = [
        {
            "scene": name,
            "gt": int(gt[s]),
            "mota": [float(1 - e[s] / gt[s]) if gt[s] else float("nan") for e in errors],
            "fp": [int(v[s]) for v in false],
            "fn": [int(v[s]) for v in misses],
            "ids": [int(v[s]) for v in switches],
            "change": [int(errors[0][s] - e[s]) for e in errors],  # errors less than the first
        }
        for s, name in enumerate(names)
    ]
    return sorted(rows, key=lambda row: (row["change"][-1], row["scene"]))


def object_changes(evaluations: list[Evaluation], other: int) -> list[ObjectChange]:
    """Objects that file ``other`` and the first have in different numbers of frames, worst first.

    Within equal changes in the order of scenes and objects.
    """
    frames = evaluations[0].frames
    step = frames.step
    found = []
    for label, result in evaluations[0].tracking.classes.items():
        gt = result.gt
        if not len(gt):
            continue
        classes = [e.tracking.classes[label] for e in evaluations]
        pred = [
            np.full(len(gt), -1) if c.outcome is None else c.outcome.pred[0].astype(int)
            for c in classes
        ]
        hit = np.array([rows >= 0 for rows in pred])
        tracks = int(gt.track.max()) + 1
        hits = np.array([np.bincount(gt.track, row, minlength=tracks) for row in hit]).astype(int)
        length = np.bincount(gt.track, minlength=tracks)
        for track in np.flatnonzero(hits[other] != hits[0]).tolist():
            rows = np.flatnonzero(gt.track == track)
            row = int(rows[hit[other, rows] != hit[0, rows]][0])
            frame = int(gt.frame[row])
            found.append(
                ObjectChange(
                    class_name=label,
                    scene=frames.scene_names[frames.scene[frame]],
                    object_id=gt.track_names[track],
                    frames=int(length[track]),
                    hits=tuple(hits[:, track].tolist()),
                    change=int(hits[other, track] - hits[0, track]),
                    frame=frame,
                    step=int(step[frame]),
                    x=float(gt.center[row, 0]),
                    y=float(gt.center[row, 1]),
                    tracks=tuple(
                        c.pred.track_names[c.pred.track[p[row]]] if p[row] >= 0 else ""
                        for c, p in zip(classes, pred, strict=True)
                    ),
                )
            )
    return sorted(found, key=lambda o: (o.change, o.scene, o.class_name, o.object_id))


def _listed(changes: list[ObjectChange]) -> list[ObjectChange]:
    """The worst and the best of them."""
    worse = [c for c in changes if c.change < 0][:OBJECTS_LISTED]
    return worse + [c for c in changes if c.change > 0][-OBJECTS_LISTED:]


def comparison_table(content: dict[str, Any]) -> str:
    """Metrics of all files with the bootstrap's intervals, and AMOTA by class, for the terminal."""
    names = content["names"]
    lines = [f"{chr(65 + i)}: {name}" for i, name in enumerate(names)]
    letters = [chr(65 + i) for i in range(len(names))]
    head = ["all classes", *letters, *(f"{letter} - A" for letter in letters[1:])]
    with_interval = {row["metric"]: row["files"] for row in content["intervals"]}
    rows = [head]
    for row in content["metrics"]:
        metric, values = row["metric"], row["values"]
        cells = [format_metric(metric, value) for value in values]
        for i, value in enumerate(values[1:], 1):
            text = _signed(metric, value - values[0])
            if metric in with_interval:
                cell = with_interval[metric][i]
                low, high = (_signed(metric, cell[f"difference_{end}"]) for end in ("low", "high"))
                text += f" [{low}, {high}]"
            cells.append(text)
        rows.append([metric.upper(), *cells])
    lines += ["", align(rows), ""]
    classes = [["AMOTA", *head[1:]]]
    for row in content["classes"]:
        values = row["amota"]
        cells = [format_metric("amota", value) for value in values]
        cells += [_signed("amota", value - values[0]) for value in values[1:]]
        classes.append([row["class"], *cells])
    lines.append(align(classes))
    if content["intervals"]:
        share = f"{100 * content['confidence']:.0f} %"
        lines.append(
            f"\n[]: {share} interval, {content['draws']} draws of the {content['scenes']} scenes"
        )
    else:
        lines.append("\none scene only: no intervals")
    return "\n".join(lines)


def _signed(metric: str, value: float) -> str:
    text = format_metric(metric, value)
    return text if text.startswith("-") else f"+{text}"
