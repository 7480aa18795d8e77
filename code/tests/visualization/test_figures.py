"""Figures of the notebooks: what they show, read back from the axes."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from pftrack.visualization import figures


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_losses_largest_on_top():
    axes = figures.loss_bars({"small": 0.1, "large": 2.0}).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["small", "large"]
    assert [bar.get_width() for bar in axes.patches] == [0.1, 2.0]


def test_errors_end_where_the_truth_ends():
    errors = {"model": np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan]])}
    (line,) = figures.forecast_errors(errors).axes[0].get_lines()
    np.testing.assert_allclose(line.get_xydata(), [[0.5, 2.0], [1.0, 2.0]])


def test_shares_of_a_track_that_was_reported_once():
    seen = SimpleNamespace(cameras=torch.tensor([0.5, 0.5, 0, 0, 0, 0]))
    image = figures.camera_shares([None, seen]).axes[0].images[0].get_array()
    assert np.isnan(np.asarray(image[:, 0].filled(np.nan))).all()
    np.testing.assert_allclose(image[:, 1], [0.5, 0.5, 0, 0, 0, 0])


def test_a_model_that_reasons_about_nothing_has_no_time_shares():
    with pytest.raises(ValueError, match="neither past nor future"):
        figures.time_shares(SimpleNamespace(past=None, future=None))


def test_attention_is_hot_where_the_weight_is():
    weights = np.zeros((2, 2))
    weights[0, 1] = 1
    heat = figures.attention_overlay(np.zeros((40, 40, 3), np.uint8), weights).astype(int).sum(-1)
    assert heat[5, 35] > heat[35, 5] + 100
