"""Published checkpoints through evaluation: measured numbers beside the published ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pftrack.checkpoints.manifest import PublishedFile
from pftrack.errors import UserError
from pftrack.evaluation.text import align

TOLERANCE = {"AMOTA": 0.005}  # metrics without one are shown, not judged


@dataclass(frozen=True)
class Comparison:
    """One published number and ours. ``passed`` is None for metrics that are not judged."""

    name: str
    metric: str
    published: float
    measured: float
    passed: bool | None

    @property
    def difference(self) -> float:
        return self.measured - self.published


def published_trackers(files: Iterable[PublishedFile], split: str) -> list[PublishedFile]:
    """The files with published metrics on a split.

    Raises:
        UserError: there is none.
    """
    chosen = [f for f in files if f.config and f.published.get("split") == split]
    if not chosen:
        raise UserError(f"no chosen checkpoint has published numbers on the split '{split}'")
    return chosen


def compare(file: PublishedFile, summary: dict[str, Any]) -> list[Comparison]:
    """Every published number of a file against a metrics summary."""
    rows = []
    for metric, published in file.published.items():
        if isinstance(published, bool) or not isinstance(published, (int, float)):
            continue
        value = summary.get(metric.lower())
        measured = math.nan if value is None else float(value)
        passed = None
        if metric in TOLERANCE:
            # NaN never passes; 1e-9 forgives the rounding of the decimal limit itself.
            passed = bool(abs(measured - published) <= TOLERANCE[metric] + 1e-9)
        rows.append(Comparison(file.name, metric, float(published), measured, passed))
    return rows


def reproduce(
    files: list[PublishedFile],
    checkpoints: Path,
    evaluate: Callable[[PublishedFile, Path], dict[str, Any]],
) -> list[Comparison]:
    """Evaluate every file and compare.

    Args:
        checkpoints: folder the files lie in.
        evaluate: metrics summary of one checkpoint.

    Raises:
        UserError: a file is missing, found out before anything is evaluated.
    """
    missing = [f.name for f in files if not (checkpoints / f.path).is_file()]
    if missing:
        raise UserError(
            f"{', '.join(missing)} not in {checkpoints}: 'make checkpoints ONLY={missing[0]}' "
            f"downloads it"
        )
    rows = []
    for file in files:
        rows += compare(file, evaluate(file, checkpoints / file.path))
    return rows


def comparison_table(rows: list[Comparison]) -> str:
    """published | measured | difference | pass, one line per number."""
    verdict = {True: "pass", False: "FAIL", None: ""}
    cells = [["checkpoint", "metric", "published", "measured", "difference", ""]]
    cells += [
        [
            row.name,
            row.metric,
            f"{row.published:.3f}",
            "-" if math.isnan(row.measured) else f"{row.measured:.3f}",
            "-" if math.isnan(row.measured) else f"{row.difference:+.3f}",
            verdict[row.passed],
        ]
        for row in rows
    ]
    return align(cells)
