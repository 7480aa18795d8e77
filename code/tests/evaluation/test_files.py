"""Metrics as files, under the devkit's names."""

import json
from types import SimpleNamespace

from pftrack.evaluation.files import write_metrics


def test_summary_has_what_was_measured_and_with_what(tmp_path):
    tracking = SimpleNamespace(summary=lambda: {"amota": 0.5}, details=lambda: {"car": {"tp": [1]}})
    meta = {"use_camera": True}
    evaluation = SimpleNamespace(tracking=tracking, meta=meta, seconds=2.0, missing=())
    evaluation.truth = SimpleNamespace(split="own/night.txt")
    summary = write_metrics(evaluation, tmp_path)
    assert summary == {"amota": 0.5, "meta": meta, "eval_time": 2.0, "split": "night"}
    assert json.loads((tmp_path / "metrics_summary.json").read_text()) == summary
    assert json.loads((tmp_path / "metrics_details.json").read_text()) == {"car": {"tp": [1]}}
