"""What a training continues from is compared with the training before anything uses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_toy import make_trainer

from pftrack.errors import UserError
from pftrack.training.checkpoint import read_progress


def first(content: dict[str, Any]) -> dict[str, Any]:
    return content["optimizer"]["state"][0]


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


MOMENT = ("optimizer", "state", 0, "exp_avg")
SPOILED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "shorter moment": (put(*MOMENT, value=torch.zeros(1)), r"exp_avg of .* is \[1\], not"),
    "scalar moment": (put(*MOMENT, value=torch.tensor(0.0)), r"exp_avg of .* is \[\], not"),
    "moment of another type": (
        lambda c: put(*MOMENT, value=first(c)["exp_avg"].long())(c),
        "exp_avg of .* is not finite numbers",
    ),
    "no tensor": (put(*MOMENT, value="zero"), "exp_avg of .* is str"),
    "NaN moment": (
        lambda c: first(c)["exp_avg"].fill_(float("nan")),
        "exp_avg of .* is not finite numbers",
    ),
    "negative square": (lambda c: first(c)["exp_avg_sq"].fill_(-1), "exp_avg_sq of .* is negative"),
    "missing moment": (lambda c: first(c).pop("exp_avg_sq"), r"has \['exp_avg', 'step'\]"),
    "no moments": (put("optimizer", "state", value={}), "its optimiser has no moments"),
    "steps of a text": (put("optimizer", "state", 0, "step", value="3"), "no number of steps"),
    "steps of two kinds": (put("optimizer", "state", 0, "step", value=3), "of two kinds"),
    "another parameter": (put("optimizer", "state", 99, value={}), "parameter 99"),
    "group of fewer": (
        lambda c: c["optimizer"]["param_groups"][0]["params"].pop(),
        "a group of other parameters",
    ),
    "groups of none": (put("optimizer", "param_groups", value=None), "no 'param_groups'"),
    "numpy's position": (
        lambda c: put("resume", "rng", 0, "numpy", 2, value=10**6)(c),
        "random state of numpy",
    ),
    "torch's bytes": (
        put("resume", "rng", 0, "torch", value=torch.zeros(3, dtype=torch.uint8)),
        "make no sense",
    ),
    "no random states": (put("resume", "rng", value=7), "make no sense"),
    "an empty list of random states": (put("resume", "rng", value=[]), "make no sense"),
    "negative epoch": (
        put("resume", "epoch", value=-1),
        r"Expected `int` >= 0 - at `\$.resume.epoch`",
    ),
    "no batches": (put("resume", "iters_per_epoch", value=0), "iters_per_epoch"),
    "epoch of a text": (put("meta", "epoch", value="three"), "make no sense"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    make_trainer(folder).run()
    return folder / "latest.pth"


@pytest.mark.parametrize("case", SPOILED)
def test_a_state_that_does_not_fit_is_named(trained: Path, tmp_path: Path, case: str) -> None:
    spoil, words = SPOILED[case]
    content = torch.load(trained, weights_only=True)
    spoil(content)
    path = tmp_path / "spoiled.pth"
    torch.save(content, path)
    with pytest.raises(UserError, match=f"cannot resume .*{words}"):
        make_trainer(tmp_path).resume(path)


def test_progress_is_read_without_weights(trained: Path, tmp_path: Path) -> None:
    reached = read_progress(trained)
    content = torch.load(trained, weights_only=True)
    assert (reached.meta.iter, reached.epochs) == (content["meta"]["iter"], reached.meta.epoch)
    del content["meta"]["iter"]
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(UserError, match="no checkpoint of a training"):
        read_progress(tmp_path / "other.pth")
