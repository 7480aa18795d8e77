"""Metric tables for the terminal."""

from __future__ import annotations

import math

from pftrack.evaluation.forecasting_metrics import METRICS as FORECASTING_METRICS
from pftrack.evaluation.tracking_metrics import METRICS

_DECIMALS = {
    **dict.fromkeys(("amota", "amotp", "recall", "motar", "mota", "motp"), 3),
    **dict.fromkeys(("tid", "lgd"), 2),
    "faf": 1,
}


def format_metric(name: str, value: float) -> str:
    """A metric with the devkit's number of decimals; ``-`` when undefined."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.{_DECIMALS.get(name, 0)}f}"


def tracking_table(summary: dict) -> str:
    """Per-class rows and the overall row of a ``metrics_summary.json``."""
    labels = summary["label_metrics"]
    rows = [["class", *(m.upper() for m in METRICS)]]
    for name in labels["amota"]:
        rows.append([name, *(format_metric(m, labels[m][name]) for m in METRICS)])
    rows.append(["all", *(format_metric(m, summary[m]) for m in METRICS)])
    return align(rows)


def columns_table(columns: dict[str, dict[str, float]]) -> str:
    """Overall metrics, one row each, one column for each tracker."""
    rows = [["all classes", *columns]]
    for metric in METRICS:
        rows.append([metric.upper(), *(format_metric(metric, c[metric]) for c in columns.values())])
    return align(rows)


def forecasting_table(forecasting: dict) -> str:
    """Rows of :func:`evaluate_forecasts` averaged over classes: one per predictor and horizon."""
    rows = [["forecast", "horizon", *FORECASTING_METRICS.values(), "boxes"]]
    for predictor, horizons in forecasting["all"].items():
        for horizon, values in horizons.items():
            numbers = [_number(values[m]) for m in FORECASTING_METRICS]
            rows.append([predictor, horizon, *numbers, str(int(values["count"]))])
    return align(rows)


def detection_table(summary: dict) -> str:
    """The devkit's detection summary: mAP, NDS, true-positive errors, and AP by class."""
    errors = summary["tp_errors"]
    rows = [["class", "AP"], *([n, _number(v)] for n, v in summary["mean_dist_aps"].items())]
    lines = [f"mAP {summary['mean_ap']:.4f}   NDS {summary['nd_score']:.4f}"]
    lines.append("   ".join(f"m{n[:-4].title()[:5]} {v:.4f}" for n, v in errors.items()))
    return "\n".join([*lines, "", align(rows)])


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def align(rows: list[list[str]]) -> str:
    """Columns of equal width, the first one left-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
