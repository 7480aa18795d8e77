"""The loop's parts around a step: non-finite losses, logs, where weights come from."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_toy import ToyModel, logged, make_trainer

from pftrack.errors import UserError
from pftrack.models.acceleration import compile_modules
from pftrack.training.initial_weights import (
    find_initial_weights,
    previous_configuration,
)
from pftrack.training.logs import TrainLog
from pftrack.training.process import seed_everything


class PoisonedModel(ToyModel):
    """Gives a NaN in a named term on chosen steps."""

    def __init__(self, steps: set[int]) -> None:
        super().__init__()
        self.steps, self.calls = steps, 0

    def forward(self, batch):
        losses = super().forward(batch)
        losses["f0.loss_bbox"] = losses.pop("loss_bbox") * (
            float("nan") if self.calls in self.steps else 1.0
        )
        self.calls += 1
        return losses


def test_non_finite_loss_stops_names_the_term_and_saves_a_repro(tmp_path):
    trainer = make_trainer(tmp_path, model=PoisonedModel({2}))
    with pytest.raises(UserError) as caught:
        trainer.run()
    message = str(caught.value)
    assert "at iteration 2: 'f0.loss_bbox' in frame 0 of the clip, sample token-" in message
    repro = torch.load(tmp_path / "nonfinite_iter_2_rank_0.pth", weights_only=True)
    assert repro["batch"]["sample_tokens"][0][0] in message
    assert repro["batch"]["img"].isfinite().all() and repro["losses"]["f0.loss_bbox"].isnan()
    assert all(value.isfinite().all() for value in repro["state_dict"].values())
    assert {"rng", "meta"} <= repro.keys()


def test_non_finite_loss_can_be_skipped(tmp_path, capsys):
    trainer = make_trainer(tmp_path, model=PoisonedModel({2}), nan_guard={"action": "skip"})
    assert trainer.run() is True
    assert all(p.isfinite().all() for p in trainer.model.parameters())
    assert "step skipped" in capsys.readouterr().out
    every = make_trainer(
        tmp_path / "b", PoisonedModel(set(range(9))), nan_guard={"action": "skip", "max_skips": 2}
    )
    with pytest.raises(UserError, match="3 steps in a row"):
        every.run()


def test_log_json_has_what_mmcv_tools_read(tmp_path):
    make_trainer(tmp_path, log_config={"interval": 2}).run()
    (path,) = tmp_path.glob("*.log.json")
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    assert [(line["epoch"], line["iter"]) for line in lines] == [(1, 2), (1, 4), (2, 2), (2, 4)]
    expected = {"mode", "epoch", "iter", "lr", "memory", "time", "data_time", "loss", "grad_norm"}
    assert expected | {"steps", "loss_cls", "loss_bbox"} == lines[0].keys()
    assert [line["steps"] for line in lines] == [2, 2, 2, 2]
    assert lines[0]["loss"] == pytest.approx(lines[0]["loss_cls"] + lines[0]["loss_bbox"], rel=1e-5)
    assert list((tmp_path / "tf_logs").iterdir())


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_one_line_is_renewed_and_the_log_file_has_the_others(
    tmp_path, monkeypatch, capsys
):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    make_trainer(tmp_path, log_config={"interval": 2}).run()
    shown = terminal.getvalue()
    assert "8/8" in shown and "loss " in shown and "\r" in shown
    assert "Epoch [1][2/4]" not in capsys.readouterr().out
    (path,) = tmp_path.glob("*.log")
    text = path.read_text()
    assert text.count("Epoch [") == 4 and "\r" not in text


def test_where_nobody_watches_lines_are_printed(tmp_path, capsys):
    make_trainer(tmp_path, log_config={"interval": 2}).run()
    captured = capsys.readouterr()
    assert captured.out.count("Epoch [") == 4 and "8/8" not in captured.err


def test_values_that_are_not_finite_stay_out_of_the_means(tmp_path):
    log = TrainLog(tmp_path, is_main=True, tensorboard=False)
    for norm in (1.0, float("inf"), 3.0):
        log.add({"loss": torch.tensor(2.0), "grad_norm": torch.tensor(norm)}, 0.0, 0.1)
    log.add({"loss": torch.tensor(6.0), "extra": torch.tensor(float("nan"))}, 0.0, 0.1)
    log.write(4, 1, 4, 4, 0, 1e-3)
    log.close()
    (line,) = [json.loads(text) for f in tmp_path.glob("*.json") for text in f.open()]
    assert (line["loss"], line["grad_norm"]) == (3.0, 2.0)
    assert np.isnan(line["extra"])


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"checkpoint_config": {"interval": 2}}, ["epoch_2", "epoch_3"]),  # mmcv's meaning
        ({"checkpoint_config": {"interval": 1}}, ["epoch_1", "epoch_2", "epoch_3"]),
        ({"checkpoint_config": {"interval": 1, "max_keep_ckpts": 1}}, ["epoch_3"]),
    ],
)
def test_checkpoints_every_so_many_epochs_and_at_the_end(tmp_path, changes, kept):
    make_trainer(tmp_path, runner={"max_epochs": 3}, **changes).run()
    assert sorted(path.stem for path in tmp_path.glob("epoch_*.pth")) == kept


def test_an_evaluation_has_its_checkpoint(tmp_path):
    seen = []

    def evaluate(path, _world):
        seen.append((path.name, path.is_file()))
        return {"amota": 0.5}

    changes = {"checkpoint_config": {"interval": 10}, "evaluation": {"interval": 1}}
    make_trainer(tmp_path, evaluate=evaluate, **changes).run()
    assert seen == [("epoch_1.pth", True), ("epoch_2.pth", True)]


@pytest.mark.parametrize(
    "error", [UserError("no tables"), RuntimeError("out of memory"), KeyError(3)]
)
def test_a_failing_evaluation_ends_no_training(tmp_path, error, capsys):
    """It is said, and changes nothing of what is trained afterwards."""

    def evaluate(_path, _world):
        torch.rand(7)
        raise error

    changes = {"checkpoint_config": {"interval": 1}, "evaluation": {"interval": 1}}
    make_trainer(tmp_path / "failing", evaluate=evaluate, **changes).run()
    said = capsys.readouterr().out
    assert said.count("failed (") == 2 and said.count(": the training goes on") == 2
    assert str(error) in said
    make_trainer(tmp_path / "without", **changes).run()
    assert logged(tmp_path / "failing") == logged(tmp_path / "without")
    assert not (tmp_path / "failing" / "evaluations.json").exists()


def test_bf16_trains(tmp_path):
    make_trainer(tmp_path, precision="bf16").run()
    losses = [line[2] for line in logged(tmp_path)]
    assert len(losses) == 8 and losses[-1] < losses[0]


def test_compile_names_parts_of_the_model(tmp_path, monkeypatch):
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    monkeypatch.setenv("CXX", sys.executable)
    model = ToyModel()
    model.parts = torch.nn.ModuleList([ToyModel()])  # not called itself
    compile_modules(model, ["parts"])
    assert compiled == [model.parts[0]]
    with pytest.raises(UserError, match=r"compile=img_backbone: .*torch's own layers"):
        compile_modules(model, ["img_backbone"])
    with pytest.raises(UserError, match=r"compile=neck: .*it has img_backbone, head, parts"):
        make_trainer(tmp_path, model=model, compile=["neck"]).run()
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"needs a C\+\+ compiler.*no-such-compiler"):
        make_trainer(tmp_path, model=model, compile="head").run()


def test_fp16_trains_with_a_scaled_loss(tmp_path):
    """The scale that the configuration states is there, and gone from the gradients."""
    trainer = make_trainer(tmp_path, precision="fp16", fp16={"loss_scale": 64.0})
    assert trainer.run() and trainer.scaler.scaler.get_scale() == 64.0
    losses, norms = zip(*[line[2:] for line in logged(tmp_path)], strict=True)
    exact = make_trainer(tmp_path / "fp32")
    exact.run()
    expected = [line[2:] for line in logged(tmp_path / "fp32")]
    np.testing.assert_allclose(losses, [loss for loss, _ in expected], rtol=0.05)
    np.testing.assert_allclose(norms, [norm for _, norm in expected], rtol=0.2)


def test_previous_step_of_a_configuration():
    assert previous_configuration("x/petr/f3_q5_800x320.py") == "petr/f1_q5_800x320"
    assert previous_configuration("x/petr/f5_q500_800x320.py") == "petr/f3_q5_800x320"
    assert previous_configuration("x/demo/f3_demo.py") == "demo/f1_demo"
    assert previous_configuration("x/petr/f1_q5_800x320.py") is None


def test_step_two_finds_step_one(tmp_path, monkeypatch):
    lines: list[str] = []

    def find(explicit=None, configured=None, config="toy/f3_toy.py"):
        return find_initial_weights(
            Path(config), tmp_path / "f3_toy", explicit, configured, lines.append
        )

    monkeypatch.chdir(tmp_path)
    published = Path("ckpts/f1_q5_e12.pth")
    published.parent.mkdir()
    with pytest.raises(UserError, match=r"step two needs a trained step one.*make train-f1"):
        find(configured=str(published))
    published.write_bytes(b"weights")
    assert find(configured=str(published)) == published

    make_trainer(tmp_path / "f1_toy").run()
    assert find(configured=str(published)) == tmp_path / "f1_toy" / "epoch_2.pth"
    assert find(explicit=str(published)) == published
    assert find(explicit="none") is None
    with pytest.raises(UserError, match="no checkpoint"):
        find(explicit="nowhere.pth")
    with pytest.raises(UserError, match="no checkpoint of other/f1_toy"):
        find(config="other/f3_toy.py")  # another family's step one does not count
    published.unlink()
    assert find(configured=str(published), config="toy/f1_toy.py") is None
    assert "random" in lines[-1]

    own = tmp_path / "own.pth"  # a file of the user's own goes before the step one that lies near
    with pytest.raises(UserError, match=r"no checkpoint '.*own\.pth'"):
        find(configured=str(own), config="toy/f1_toy.py")
    own.write_bytes(b"weights")
    assert find(configured=str(own)) == own


def test_what_was_loaded_takes_three_lines(tmp_path, capsys):
    make_trainer(tmp_path / "f1_toy").run()
    model = ToyModel()
    model.head[1] = torch.nn.Linear(4, 3, bias=False)
    model.reasoner = torch.nn.Linear(2, 2)
    trainer = make_trainer(tmp_path / "f3", model=model)
    capsys.readouterr()
    trainer.load(tmp_path / "f1_toy" / "epoch_2.pth")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "loaded 8" in lines[0] and "skipped 1" in lines[1] and "newly initialised 2" in lines[2]


@pytest.mark.parametrize(
    ("changes", "searches"),
    [
        ({}, False),
        ({"precision": "bf16"}, True),
        ({"cudnn_benchmark": True}, True),
        ({"precision": "bf16", "cudnn_benchmark": False}, False),
        ({"precision": "bf16", "deterministic": True}, False),
    ],
)
def test_cudnn_searches_in_half_precision_unless_told(
    tmp_path: Path, changes: dict[str, Any], searches: bool
) -> None:
    """In fp32 its search took 70 GiB of an H100, of which a step needs 3."""
    try:
        make_trainer(tmp_path, **changes)
        assert torch.backends.cudnn.benchmark is searches
    finally:
        seed_everything(0)
