"""Metrics as files, in the devkit's format and our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pftrack.evaluation.forecasting_metrics import evaluate_forecasts
from pftrack.evaluation.run import Evaluation
from pftrack.files import write_json
from pftrack.nuscenes.splits import split_name


def write_metrics(evaluation: Evaluation, out_dir: str | Path) -> dict[str, Any]:
    """Write ``metrics_summary.json`` and ``metrics_details.json`` as the devkit does.

    Returns:
        the summary.
    """
    tracking = evaluation.tracking
    summary = {**tracking.summary(), "meta": evaluation.meta, "eval_time": evaluation.seconds}
    if evaluation.truth.split:
        summary["split"] = split_name(evaluation.truth.split)
    if evaluation.missing:
        summary["missing_scenes"] = list(evaluation.missing)
    write_json(Path(out_dir) / "metrics_summary.json", summary)
    write_json(Path(out_dir) / "metrics_details.json", tracking.details())
    return summary


def write_all(evaluation: Evaluation, out_dir: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the metrics and, as ``forecasting.json``, how good the forecasts are.

    Returns:
        the summary of :func:`write_metrics` and the result of :func:`evaluate_forecasts`.
    """
    summary = write_metrics(evaluation, out_dir)
    forecasting = evaluate_forecasts(evaluation)
    write_json(Path(out_dir) / "forecasting.json", forecasting)
    return summary, forecasting
