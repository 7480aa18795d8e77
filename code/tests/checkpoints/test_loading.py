"""Weights from checkpoints of every layout into models, and what is said of it."""

from __future__ import annotations

import pytest
import torch
from small_model import small_model

from pftrack.checkpoints.reading import load_into
from pftrack.checkpoints.weights import extract_state_dict, read_weights
from pftrack.errors import UserError


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "model.module."])
def test_prefixes_and_bare_state_dicts(prefix):
    model = small_model()
    weights = {prefix + key: value for key, value in model.state_dict().items()}
    for checkpoint in ({"state_dict": weights}, {"model": weights}, weights):
        assert list(extract_state_dict(checkpoint)) == list(model.state_dict())


def test_names_of_compiled_models() -> None:
    """torch.compile of a whole model, and of a part of it."""
    model = small_model()
    before = model["head"].weight.clone()
    for prefix, inside in (("_orig_mod.", ""), ("module._orig_mod.", ""), ("", "_orig_mod.")):
        weights = {
            prefix + key.replace("head.", f"head.{inside}"): value + 1
            for key, value in model.state_dict().items()
        }
        report = load_into(small_model(), {"model_state_dict": weights}, strict=True)
        assert report.complete
        assert report.summary().splitlines()[3:] == [
            "'_orig_mod.' taken off the names: they are those of a compiled model"
        ]
    assert torch.equal(model["head"].weight, before)


def test_averaged_weights_are_told_apart() -> None:
    model = small_model()
    weights = model.state_dict()
    twins = {"ema_" + key.replace(".", "_"): value + 7 for key, value in weights.items()}
    found, remarks = read_weights({"state_dict": {**weights, **twins}})
    assert list(found) == list(weights)
    assert remarks == ["9 entries 'ema_...' left aside: twins of an averaging hook"]
    found, remarks = read_weights({"state_dict": weights, "state_dict_ema": twins})
    assert list(found) == list(weights)
    assert remarks == ["weights of 'state_dict' taken, state_dict_ema left aside"]
    found, remarks = read_weights({"model_ema": weights})
    assert list(found) == list(weights) and remarks == ["weights of 'model_ema' taken"]


def test_prefix_of_some_keys_is_part_of_their_name():
    weights = {"model.a": torch.zeros(1), "other.b": torch.zeros(1)}
    assert list(extract_state_dict(weights)) == ["model.a", "other.b"]


def test_partial_load_is_summarised_by_module(tmp_path):
    model = small_model()
    weights = {k: v + 1 for k, v in model.state_dict().items() if k.startswith("img_backbone")}
    weights["head.weight"] = torch.zeros(7, 4)
    weights["neck.conv"] = torch.zeros(1)
    before = model["head"].weight.clone()
    report = load_into(model, {"state_dict": weights})
    assert report.summary().splitlines() == [
        "loaded 7 entries from the given weights (img_backbone 7)",
        "skipped 2: 1 unknown (neck 1), 1 of another shape (head 1)",
        "newly initialised 2: head 2",
    ]
    assert report.mismatched == [("head.weight", (7, 4), (2, 4))]
    assert torch.equal(model["head"].weight, before)
    assert torch.equal(model["img_backbone"][0].bias, weights["img_backbone.0.bias"])


def test_strict_load_changes_nothing_when_it_fails():
    model = small_model()
    weights = {k: v + 1 for k, v in model.state_dict().items() if not k.startswith("head")}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(UserError, match="newly initialised 2: head 2"):
        load_into(model, {"state_dict": weights}, strict=True)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_checkpoint_of_another_model_says_whose():
    with pytest.raises(UserError, match=r"another model: none of its 2 entries \(encoder 2\)"):
        load_into(small_model(), {"encoder.a": torch.zeros(1), "encoder.b": torch.zeros(1)})


def test_checkpoint_of_a_model_of_other_sizes_changes_nothing():
    model = small_model()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    resized = {k: torch.ones(3, *v.shape) for k, v in before.items()}
    some = next(iter(before))
    weights = {**resized, some: before[some] + 1}
    with pytest.raises(UserError, match=r"another model: 1 of its 9 entries .* fit this one"):
        load_into(model, weights)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(value):
    weights = small_model().state_dict()
    weights["head.weight"][1, 2] = value
    model = small_model()
    before = model["head"].weight.clone()
    with pytest.raises(UserError, match=r"not finite numbers: head\.weight; use an earlier"):
        load_into(model, {"state_dict": weights})
    assert torch.equal(model["head"].weight, before)
