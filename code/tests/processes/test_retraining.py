"""tools/retrain.py: what is in its way, its children, one small run of all of it."""

from __future__ import annotations

import fcntl
import shutil
import signal
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from child_process import in_child
from retraining_helpers import DEMO, log_line, run, stage_json, write_log, write_record

from pftrack.retraining import run as run_module
from pftrack.retraining.child import Stopped, run_child
from pftrack.retraining.history import epoch_losses, read_runs
from pftrack.retraining.plan import make_plan
from pftrack.retraining.record import load_record
from pftrack.retraining.stage import STEP_TIME_FILE, Machine


@pytest.fixture
def options(demo_data, demo_infos) -> list[str]:
    """The demo configurations on the tests' data set, made short."""
    values = ["log_config.interval=1", "data.workers_per_gpu=0", "runner.max_epochs=1"]
    for section, split in {"train": "train", "val": "val", "test": "val"}.items():
        values.append(f"data.{section}.data_root={demo_data}/")
        values.append(f"data.{section}.ann_file={demo_infos[split]}")
    return values


def mistake(capsys, *arguments: object) -> str:
    """The one line on stderr of a command that prints its plan and exits with status 2."""
    capsys.readouterr()
    assert run(*arguments) == 2
    output = capsys.readouterr()
    (message,) = output.err.splitlines()
    assert message.startswith("error: ")
    return message


def test_what_is_in_the_way_is_one_line_and_nothing_is_written(
    tmp_path, capsys, monkeypatch, options
):
    root, record = tmp_path / "run", tmp_path / "record.json"
    write_record(record, stage_json(evaluate=["tracking"]))
    base = ["--record", record, "--work-dir", root]
    good = ["--cfg-options", *options]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "8 GPU(s) asked for, this machine has 0" in mistake(capsys, *base, *good)
    base += ["--gpus", 0]
    assert "no info file gone.pkl, which f1 needs: 'make data'" in mistake(
        capsys, *base, *good, "data.train.ann_file=gone.pkl"
    )
    assert "no info file lost.pkl" in mistake(capsys, *base, *good, "data.val.ann_file=lost.pkl")
    assert "no nuScenes tables in elsewhere" in mistake(
        capsys, *base, *good, "data.val.data_root=elsewhere"
    )
    line = mistake(capsys, *base, *good, "load_from=none_such.pth")
    assert "f1 starts from none_such.pth, which is not there" in line
    assert "--gpus: a whole number from 0" in mistake(capsys, *base, "--gpus=-1", *good)
    line = mistake(capsys, *base, "--write-record", tmp_path / "gone" / "r.json", *good)
    assert "no folder" in line
    monkeypatch.setenv("NNODES", "2")
    assert "NNODES=2: retraining runs on one machine" in mistake(capsys, *base, *good)
    monkeypatch.setenv("NNODES", "1")
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2e8, 1.1e8, 9e7))
    says = f"the checkpoints need 0.0987 GB more, the disk of {root} has 0.09 GB left"
    assert says in mistake(capsys, *base, *good)
    assert says in mistake(capsys, *base, "--measure", 3, *good)
    assert not root.exists()


def test_a_folder_is_worked_on_by_one_command_at_a_time(tmp_path, capsys, options):
    record = write_record(tmp_path / "record.json", stage_json())
    root = tmp_path / "run"
    root.mkdir()
    with (root / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        line = mistake(
            capsys, "--record", record, "--work-dir", root, "--gpus", 0, "--cfg-options", *options
        )
    assert "another process works in" in line


# ---------------------------------------------------------------- running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_stop_lets_the_child_save_its_state(tmp_path, number):
    saved = tmp_path / "saved"
    script = (
        "import os, pathlib, signal, sys\n"
        "def save(*_):\n"
        f"    pathlib.Path({str(saved)!r}).touch()\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        f"os.kill(os.getppid(), {int(number)})\n"
        "while True: signal.pause()\n"
    )

    def work() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with open(tmp_path / "lock", "w") as lock, pytest.raises(Stopped) as stop:
            run_child([sys.executable, "-c", script], {}, lock.fileno())
        assert stop.value.status == 128 + number

    assert in_child(work) == 0
    assert saved.exists()


def test_a_child_ends_with_its_parent_and_holds_the_lock_until_then(tmp_path):
    """SIGKILL leaves the parent no time: the kernel tells the child."""
    lock_file, saved = tmp_path / "lock", tmp_path / "saved"
    script = (
        "import os, pathlib, signal, sys\n"
        "def save(*_):\n"
        f"    pathlib.Path({str(saved)!r}).touch()\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "os.kill(os.getppid(), signal.SIGKILL)\n"
        "while True: signal.pause()\n"
    )

    def work() -> None:
        with lock_file.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            run_child([sys.executable, "-c", script], {}, lock.fileno())

    assert in_child(work) == -signal.SIGKILL
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits for the child
    assert saved.exists()


def fake_training(monkeypatch, work: Any) -> list[list[str]]:
    """Replace child processes by ``work(work dir)``; returns the commands that were run."""
    commands: list[list[str]] = []

    def run_child(command: list[str], environment: dict[str, str], _lock: int) -> int:
        commands.append(command)
        return int(work(Path(command[command.index("--work-dir") + 1])) or 0)

    monkeypatch.setattr(run_module, "run_child", run_child)
    return commands


def test_measured_steps_enter_the_plan_and_leave_one_file(tmp_path, capsys, monkeypatch, options):
    def train(work_dir: Path) -> None:
        times = (20.0, 9.0, 3.0, 2.0)
        lines = [log_line(1, i + 1, 1, 1.0, seconds) for i, seconds in enumerate(times)]
        write_log(work_dir, "1", *lines, device="any", processes=1)

    commands = fake_training(monkeypatch, train)
    record = write_record(tmp_path / "record.json", stage_json())
    root = tmp_path / "run"
    arguments = ["--record", record, "--work-dir", root, "--gpus", 0, "--plan", "--measure", 4]
    for _ in range(2):  # what is known is not measured again
        assert run(*arguments, "--cfg-options", *options) == 0
        row = next(r for r in capsys.readouterr().out.splitlines() if r.startswith("f1  "))
        assert row.split()[5:8] == ["2.5", "0.00139", "0.00139"]  # 2 iterations
    assert len(commands) == 1 and "runner.max_iters=4" in commands[0]
    assert "--no-validate" in commands[0] and "none" in commands[0]
    assert [path.name for path in (root / "f1").iterdir()] == [STEP_TIME_FILE]


@pytest.mark.parametrize(
    ("status", "exit_status", "says"),
    [(2, 2, ""), (-9, 1, "dist_train.sh was killed by signal 9"), (0, 1, "stopped before its end")],
)
def test_a_training_that_fails_ends_the_command(
    tmp_path, capsys, monkeypatch, options, status, exit_status, says
):
    fake_training(monkeypatch, lambda _: status)
    record = write_record(tmp_path / "record.json", stage_json())
    arguments = ["--record", record, "--work-dir", tmp_path / "run", "--gpus", 0]
    assert run(*arguments, "--cfg-options", *options) == exit_status
    errors = capsys.readouterr().err
    assert says in errors and len(errors.splitlines()) == bool(says)


@pytest.mark.slow
def test_both_demo_stages_from_plan_to_comparison(tmp_path, capfd, options):
    """f1 is begun and continued; f3 starts from it, is evaluated and judged; the outcome becomes
    the record of a second comparison, which trains and evaluates nothing."""
    config = f"{DEMO}/f3_demo.py"
    limits = {"evaluate": ["tracking"], "published": {"AMOTA": 0.9}, "at_least": {"AMOTA": 0.8}}
    f3 = {"name": "f3", "config": config, **limits}
    record = write_record(tmp_path / "record.json", stage_json(), f3)
    root, written = tmp_path / "run", tmp_path / "ours.json"
    base = ["--gpus", 0, "--work-dir", root]
    changes = ["--cfg-options", *options]
    assert run(*base, "--record", record, "--only", "f1", *changes, "runner.max_iters=1") == 0
    assert "f1: training, not begun" in capfd.readouterr().out

    more = [*changes, "runner.max_iters=2"]
    assert run(*base, "--record", record, "--write-record", written, *more) == 1
    output = capfd.readouterr().out
    assert "f1: training, epoch 0.5 of 1" in output
    assert f"loaded 304 entries from {root}/f1/epoch_1.pth" in output
    amota = next(row for row in output.splitlines() if row.startswith("AMOTA "))
    assert amota.split()[-1] == "FAIL"
    assert (root / "f3" / "tracking" / "report.html").is_file()
    size = (root / "f3" / "iter_2.pth").stat().st_size
    (stage,) = make_plan(
        load_record(record),
        [load_record(record).stages[1]],
        root,
        Machine(0, "auto"),
        tuple(options),
    ).stages
    assert stage.checkpoint_bytes == pytest.approx(size, rel=0.03)

    f1, f3_outcome = (stage.retrained for stage in load_record(written).stages)
    assert f1 is not None and f3_outcome is not None
    assert f1.losses == epoch_losses(read_runs(root / "f1")) and set(f1.losses) == {1}
    assert {"AMOTA", "AMOTP", "IDS"} <= f3_outcome.metrics.keys()
    assert len(f3_outcome.class_amota) == 7

    before = sorted(path for path in root.rglob("*"))
    assert run(*base, "--record", written, *more) == 0
    output = capfd.readouterr().out
    assert "training," not in output and output.count("(+0.0%)") > 4
    assert sorted(path for path in root.rglob("*")) == before
