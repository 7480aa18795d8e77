"""Metric tables for the terminal."""

import math

import pytest

from pftrack.evaluation.text import (
    detection_table,
    forecasting_table,
    format_metric,
    tracking_table,
)
from pftrack.evaluation.tracking_metrics import METRICS


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("amota", 0.12345, "0.123"),
        ("tid", 1.239, "1.24"),
        ("ids", 17.0, "17"),
        ("faf", 2.06, "2.1"),
    ],
)
def test_decimals_are_the_devkits(name, value, text):
    assert format_metric(name, value) == text
    assert format_metric(name, math.nan) == "-"


def test_tracking_table_has_a_row_per_class_and_lines_up():
    labels = {m: {"car": 0.5, "pedestrian": math.nan} for m in METRICS}
    lines = tracking_table({"label_metrics": labels, **dict.fromkeys(METRICS, 0.25)}).splitlines()
    assert [line.split()[0] for line in lines] == ["class", "car", "pedestrian", "all"]
    assert lines[1].split()[1] == "0.500" and set(lines[2].split()[1:]) == {"-"}
    assert lines[0].index("AMOTA") == lines[1].index("0.500")


def test_forecasting_and_detection_tables():
    values = {"minADE": 0.5, "minFDE": 1.0, "MR": math.nan, "EPA": 0.1, "count": 12.0}
    lines = forecasting_table({"all": {"model": {"4 s": values}}}).splitlines()
    assert lines[1].split() == ["model", "4", "s", "0.500", "1.000", "-", "0.100", "12"]
    summary = {
        "tp_errors": {"trans_err": 0.5}, "mean_dist_aps": {"car": 0.25}, "mean_ap": 0.25,
        "nd_score": 0.375,
    }  # fmt: skip
    lines = detection_table(summary).splitlines()
    assert lines[0] == "mAP 0.2500   NDS 0.3750" and lines[1] == "mTrans 0.5000"
    assert lines[-1].split() == ["car", "0.250"]
