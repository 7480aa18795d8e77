"""Everything a report says, as plain data: the JSON file, and what the HTML template shows."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from pftrack.evaluation.analysis import (
    range_breakdown,
    track_events,
    visibility_breakdown,
)
from pftrack.evaluation.run import Evaluation
from pftrack.evaluation.tracking_metrics import METRICS


@dataclass
class RunFacts:
    """How the results were made; unknown for results from elsewhere.

    Attributes:
        title: of the report.  result, checkpoint, config, split, version: names.
        published: metric name -> published number for this configuration, e.g. AMOTA.
        published_source: where it was published.
        baselines: overall metrics of tracking by detection over the same boxes, by method.
        frames: tracked.  wall_seconds: of the inference.  stage_seconds: by stage.
        devices: of the inference processes.  options: precision and the like.
    """

    title: str
    result: str
    version: str
    split: str
    checkpoint: str | None = None
    config: str | None = None
    published: dict[str, float] = field(default_factory=dict)
    published_source: str = ""
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    frames: int | None = None
    wall_seconds: float | None = None
    stage_seconds: dict[str, float] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)


def report_content(
    evaluation: Evaluation, forecasting: dict, facts: RunFacts, environment: dict[str, str]
) -> dict[str, Any]:
    """Collect a report.

    Returns:
        plain, JSON-ready data; numbers that do not exist are None.
    """
    tracking = evaluation.tracking
    measured = tracking.overall
    content = {
        "title": facts.title,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "run": asdict(facts),
        "environment": environment,
        "overall": measured,
        "classes": {name: result.values for name, result in tracking.classes.items()},
        "published": [
            {
                "metric": name,
                "published": value,
                "measured": measured.get(name.lower()),
                "difference": measured.get(name.lower(), math.nan) - value,
            }
            for name, value in facts.published.items()
        ],
        "curves": {
            name: {m: result.curves[m].tolist() for m in ("recall_hypo", "confidence", "motar")}
            for name, result in tracking.classes.items()
        },
        "forecasting": forecasting,
        "by_range": range_breakdown(evaluation),
        "by_visibility": visibility_breakdown(evaluation),
        "events": [asdict(event) for event in track_events(evaluation)],
        "runtime": _runtime(facts),
        "evaluation_seconds": evaluation.seconds,
        "metric_names": list(METRICS),
    }
    return without_nan(content)


def _runtime(facts: RunFacts) -> dict[str, Any]:
    """Frames per second over all, and milliseconds per frame by stage."""
    if not facts.frames:
        return {}
    total = sum(facts.stage_seconds.values())
    runtime: dict[str, Any] = {
        "frames": facts.frames,
        "stages_ms": {k: 1e3 * v / facts.frames for k, v in facts.stage_seconds.items()},
    }
    if total:
        runtime["frames_per_second_per_process"] = facts.frames / total
    return runtime


def without_nan(value: Any) -> Any:
    """The same data with None for NaN and infinite numbers, which JSON does not have."""
    if isinstance(value, dict):
        return {str(k): without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
