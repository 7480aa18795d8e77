"""The GPU check's frame: parts within a budget, resumed, judged and shown."""

from __future__ import annotations

import json

import pytest
import torch

from laboratory.gpu_check import run
from laboratory.gpu_check.setting import Result, Setting

HERE = {"gpu": "a GPU", "git_modified": False}
SETTING = Setting(torch.device("cpu"), small=True)


@pytest.fixture
def machine(monkeypatch):
    """The machine that the report is of; to be changed."""
    here = dict(HERE)
    monkeypatch.setattr(run, "machine", lambda _setting: dict(here))
    return here


def test_what_is_done_is_not_done_again_on_the_same_machine_and_code(tmp_path, machine):
    done = []

    def part(name):
        def measure(_setting):
            done.append(name)
            return Result({"ms": 1.0})

        return measure

    parts = {name: part(name) for name in "abc"}
    out = tmp_path / "check.json"
    report = run.check_all({"a": parts["a"]}, SETTING, out, 60)
    assert list(report["parts"]) == ["a"] and json.loads(out.read_text()) == report
    report = run.check_all(parts, SETTING, out, -1)  # no time
    assert report["left out"] == ["b", "c"] and done == ["a"]
    report = run.check_all(parts, SETTING, out, 60)
    assert done == ["a", "b", "c"] and "left out" not in report
    machine["gpu"] = "another"
    run.check_all(parts, SETTING, out, 60)
    assert done == ["a", "b", "c", "a", "b", "c"]


def test_a_part_that_breaks_says_so_and_the_next_one_runs(tmp_path, machine):
    def broken(_setting):
        raise RuntimeError("no kernel\nmore lines")

    parts = {"broken": broken, "sound": lambda _setting: Result({})}
    report = run.check_all(parts, SETTING, tmp_path / "check.json", 60)
    assert report["parts"]["broken"]["problems"] == ["RuntimeError: no kernel"]
    assert report["parts"]["sound"]["problems"] == []


def test_the_table_holds_values_against_what_is_expected_of_this_gpu(capsys):
    parts = {"train": {"values": {"ms": 12.0, "GiB": 2.0}, "problems": ["bad"], "seconds": 3.0}}
    report = {"machine": HERE, "parts": parts, "left out": ["track"]}
    expected = {"a GPU": {"train": {"ms": [5, 10], "GiB": [1, 3]}}, "another": {}}
    run.print_table(report, expected)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "ms 12 expected 5 to 10 OUTSIDE" in lines
    assert "GiB 2 expected 1 to 3" in lines
    assert "WRONG: bad" in lines
    assert "track not run: the time was over; the same command goes on" in lines


def test_on_a_gpu_all_nine_configurations_run_in_three_precisions():
    names = set(run.parts(small=False))
    for config in run.PUBLISHED:
        for precision in ("fp32", "fp16", "bf16"):
            assert f"train {config} {precision}" in names
    assert len(run.PUBLISHED) == 9


def test_the_tests_that_fail_on_a_gpu_are_named(monkeypatch):
    failed = "FAILED tests/gpu/test_a.py::test_b - assert 1 == 2"
    output = f"..F\n{failed}\n1 failed, 2 passed in 3s\n"
    monkeypatch.setattr(
        run.subprocess,
        "run",
        lambda command, **_: run.subprocess.CompletedProcess(command, 1, output, ""),
    )
    result = run.gpu_tests(Setting(torch.device("cuda")))
    assert result.values == {"pytest": "1 failed, 2 passed in 3s"}
    assert result.problems == [failed]
    assert run.gpu_tests(SETTING).problems == []  # without a GPU they are skipped
