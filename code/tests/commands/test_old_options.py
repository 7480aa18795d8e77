"""Command lines written for the original's tools go on working, and say what has no effect."""

from __future__ import annotations

import argparse

import pytest

from pftrack.commands.old_options import accept_old_options
from pftrack.commands.train import parse
from pftrack.errors import UserError


def test_a_training_command_line_of_the_original(capsys: pytest.CaptureFixture[str]) -> None:
    old = ["--gpu-ids", "0", "1", "--launcher", "pytorch", "--local_rank=1", "--autoscale-lr"]
    args = parse(["c.py", "a=1", *old, "--options", "b=2", "--seed", "3"])
    assert (str(args.config), args.overrides, args.cfg_options) == ("c.py", ["a=1"], ["b=2"])
    assert args.seed == 3 and not hasattr(args, "launcher")
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == [
        "--gpu-ids",
        "--launcher",
        "--local_rank",
        "--autoscale-lr",
    ]
    assert "CUDA_VISIBLE_DEVICES" in said[0] and "tools/dist_train.sh" in said[1]


def test_one_process_of_several_says_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    parse(["c.py", "--launcher", "pytorch"])
    assert capsys.readouterr().err == ""


def test_options_that_mean_something_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpus", type=int)
    accept_old_options(parser, tracking=True)
    args = parser.parse_args(
        ["--gpus", "2", "--gpu-collect", "--tmpdir", "x", "--launcher", "none"]
    )
    assert args.gpus == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_change_of_the_configuration_is_no_gpu() -> None:
    with pytest.raises(UserError, match="--gpu-ids: invalid int value: 'a=1'"):
        parse(["c.py", "--gpu-ids", "0", "a=1"])
