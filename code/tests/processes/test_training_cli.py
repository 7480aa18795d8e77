"""tools/train.py and tools/dist_train.sh: the demo configurations run; mistakes take one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_toy import logged

from pftrack.commands import train
from pftrack.errors import run_cli
from pftrack.paths import CODE
from pftrack.training.record import run_record

DEMO = CODE / "projects/configs/tracking/demo"


@pytest.fixture
def data_options(demo_data, demo_infos) -> list[str]:
    splits = {"train": "train", "val": "val", "test": "val"}
    return ["log_config.interval=1", "data.workers_per_gpu=0"] + [
        option
        for section, split in splits.items()
        for option in (
            f"data.{section}.data_root={demo_data}/",
            f"data.{section}.ann_file={demo_infos[split]}",
        )
    ]


def run(*arguments: object) -> int:
    """Exit status of ``tools/train.py`` with these arguments, in this process."""
    with pytest.raises(SystemExit) as exit_info:
        run_cli(lambda: train.main([str(a) for a in arguments]))
    return exit_info.value.code


def expect_mistake(capfd, *arguments: object) -> str:
    """The one line on stderr of a command that exits with status 2."""
    capfd.readouterr()
    assert run(*arguments) == 2
    lines = [x for x in capfd.readouterr().err.splitlines() if x.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_both_steps_train_resume_and_evaluate(tmp_path, data_options, capfd):
    f1 = [DEMO / "f1_demo.py", "--work-dir", tmp_path / "f1", "--device", "cpu", "--auto-resume"]
    assert run(*f1, "--cfg-options", *data_options, "runner.max_iters=1") == 0
    more = ["runner.max_epochs=1", "evaluation.interval=1"]
    assert run(*f1, *data_options, *more) == 0
    output = capfd.readouterr().out
    assert "resumed" in output and "iter_1.pth" in output and "training finished" in output
    assert [line[:2] for line in logged(tmp_path / "f1")] == [(1, 1), (1, 2)]
    assert "amota" in (tmp_path / "f1" / "evaluations.json").read_text()

    f3 = [DEMO / "f3_demo.py", "--work-dir", tmp_path / "f3", "--device", "cpu"]
    factors = [1.0] * 10
    options = ["runner.max_iters=1", f"model.loss.code_weights={factors}"]
    assert run(*f3, *data_options, *options) == 0
    output = capfd.readouterr().out
    assert f"step one found in the work dir: {tmp_path}/f1/epoch_1.pth" in output
    summary = [line for line in output.splitlines() if " loaded " in line or " newly " in line]
    assert "img_backbone" in summary[0] and "STReasoner" in summary[1]
    content = torch.load(tmp_path / "f3" / "iter_1.pth", weights_only=True)
    assert content["state_dict"]["criterion.code_weights"].tolist() == factors  # not step one's
    record = content["meta"]["record"]
    assert record["config_file"].endswith("f3_demo.py") and len(record["lock_sha256"]) == 64
    assert {"git_commit", "seed", "device", "command", "started"} <= record.keys()
    assert "Cam3DTracker" in content["meta"]["config"]


def test_record_names_the_command_as_typed_in_the_code_folder(monkeypatch):
    weights = CODE.parent / "checkpoints" / "a.pth"
    arguments = [str(DEMO / "f1_demo.py"), "--load-from", str(weights), "--work-dir", "/data/f1"]
    monkeypatch.setattr(sys, "argv", [str(CODE / "tools" / "train.py"), *arguments])
    record = run_record(DEMO / "f1_demo.py", 1, torch.device("cpu"), 1)
    config = "projects/configs/tracking/demo/f1_demo.py"
    options = "--load-from ../checkpoints/a.pth --work-dir /data/f1"
    assert record["command"] == f"tools/train.py {config} {options}"
    assert record["config_file"] == config


def test_mistakes_take_one_line(tmp_path, data_options, capfd, monkeypatch):
    f1 = [DEMO / "f1_demo.py", "--work-dir", tmp_path / "f1", "--device", "cpu"]
    assert "no config file 'nowhere.py'" in expect_mistake(capfd, "nowhere.py")
    assert "not of the form a.b=c" in expect_mistake(capfd, *f1, "optimizer.lr")
    line = expect_mistake(capfd, *f1, "optimizr.lr=1")
    assert "optimizr" in line and "optimizer" in line
    assert "lr_config.warmup_itersx" in expect_mistake(capfd, *f1, "lr_config.warmup_itersx=1")
    line = expect_mistake(capfd, *f1, "data.train.ann_file=missing.pkl")
    assert "missing.pkl" in line
    assert "no checkpoint 'x.pth'" in expect_mistake(capfd, *f1, "--resume-from", "x.pth")
    line = expect_mistake(capfd, *f1, *data_options, "--load-from", "missing.pth")
    assert "missing.pth" in line
    blocked = tmp_path / "file"
    blocked.write_text("")
    line = expect_mistake(capfd, DEMO / "f1_demo.py", "--work-dir", blocked / "x", *data_options)
    assert "cannot make the folder" in line
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    line = expect_mistake(capfd, *f1[:3], "--device", "cuda")
    assert "1 GPU(s) asked for, this machine has 0" in line


def test_step_two_without_step_one(tmp_path, data_options, capfd):
    f3 = [CODE / "projects/configs/tracking/petr/f3_q500_800x320.py", "--work-dir", tmp_path / "f3"]
    line = expect_mistake(capfd, *f3, "--device", "cpu", *data_options)
    assert "step two needs a trained step one" in line and "LOAD_FROM" in line


def test_a_full_disk_ends_in_one_line(tmp_path, data_options, capfd, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    line = expect_mistake(
        capfd, DEMO / "f1_demo.py", "--work-dir", tmp_path, *data_options, "runner.max_iters=1"
    )
    assert "no space left" in line


@pytest.mark.slow
def test_dist_train_on_two_cpu_processes(tmp_path, data_options):
    """gloo processes train and evaluate; one that dies is restarted, and all resume."""
    crash_once = tmp_path / "crash_once.py"
    crash_once.write_text(
        "import os, pathlib, signal\n"
        "from pftrack.training import loop\n"
        "step = loop.Trainer._step\n"
        "def dying(self, *a):\n"
        f"    mark = pathlib.Path({str(tmp_path)!r}) / 'crashed'\n"
        "    if self.iteration == 1 and self.world.rank == 1 and not mark.exists():\n"
        "        mark.touch()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return step(self, *a)\n"
        "loop.Trainer._step = dying\n"
    )
    env = {**os.environ, "DEVICE": "cpu", "PYTHON": sys.executable, "PYTHONPATH": str(tmp_path)}
    command = ["bash", "tools/dist_train.sh", str(DEMO / "f1_demo.py"), "2"]
    command += ["--work-dir", str(tmp_path / "run"), "--cfg-options", *data_options]
    command += ["runner.max_iters=3", "data.samples_per_gpu=1", "runner.max_epochs=1"]
    command += ["checkpoint_config.by_epoch=False", "custom_imports={'imports':['crash_once']}"]
    command += ["evaluation.interval=1"]
    status, output, errors = run_bounded(command, env, seconds=1800)
    assert status == 0, errors[-2000:]
    assert (tmp_path / "crashed").exists()
    assert "2 process(es) on cpu" in output and "iter_1.pth at epoch 0, batch 1" in output
    content = torch.load(tmp_path / "run" / "epoch_1.pth", weights_only=True)
    assert content["meta"]["iter"] == 3 and len(content["resume"]["rng"]) == 2
    assert "amota" in (tmp_path / "run" / "evaluations.json").read_text()


def run_bounded(command: list[str], env: dict[str, str], seconds: float) -> tuple[int, str, str]:
    """(status, stdout, stderr) of a command; after so many seconds its process is asked to end."""
    process = subprocess.Popen(
        command, cwd=CODE, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()  # the launcher ends its workers, within half a minute
        output, errors = process.communicate()
        pytest.fail(f"not done after {seconds} s: {output[-1000:]}\n{errors[-2000:]}")
    return process.returncode, output, errors


def launch(script: Path, *options: str) -> tuple[int, str, str]:
    """Run a script by the launcher."""
    module = "pftrack.training.launch"
    command = [sys.executable, "-m", module, "--standalone", *options, str(script)]
    return run_bounded(command, {**os.environ, "PYTHONPATH": str(CODE)}, seconds=900)


def test_a_restart_finds_nothing_of_the_round_before(tmp_path):
    """A worker that read its peer's address of the round before could not connect, or waited."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import os\n"
        "from torch.distributed import rendezvous\n"
        "store, rank, size = next(rendezvous('env://'))\n"
        "if os.environ['TORCHELASTIC_RESTART_COUNT'] == '0':\n"
        "    store.set('address', 'old')\n"
        "    os.kill(os.getpid(), 9)\n"
        "print('left over:', store.check(['address']))\n"
    )
    status, output, errors = launch(script, "--nproc-per-node=1", "--max-restarts=1")
    assert status == 0, errors
    assert output.strip() == "left over: False"


def test_a_mistake_of_any_worker_is_said_once_and_not_repeated(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(
        "import os, sys, time, types\n"
        "from pftrack.commands import train\n"
        "from pftrack.errors import run_cli\n"
        "def run_training(request):\n"
        "    print('tried')\n"
        "    if os.environ['RANK'] == '1':\n"
        "        raise train.UserError('no such picture')\n"
        "    while not train.launch.is_over():\n"
        "        time.sleep(0.05)\n"
        "    raise RuntimeError('connection closed')\n"
        "sys.modules['pftrack.training.run'] = types.SimpleNamespace(\n"
        "    Request=dict, run_training=run_training)\n"
        "run_cli(lambda: train.main([__file__]))\n"
    )
    status, output, errors = launch(script, "--nproc-per-node=2", "--max-restarts=3")
    assert (status, errors) == (2, "error: no such picture\n")
    # A worker that starts late finds the mistake made; none tries again after a restart.
    assert 1 <= output.count("tried") <= 2


def test_a_mistake_ends_a_worker_that_waits_in_a_collective_without_taking_the_group_apart(
    tmp_path,
):
    """As under NCCL: leaving the group waits for the others, whom nothing reaches in theirs."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import threading\n"
        "import torch.distributed as dist\n"
        "from pftrack.commands import train\n"
        "from pftrack.errors import UserError, run_cli\n"
        "from pftrack.training import run\n"
        "from pftrack.training.process import StopSignals\n"
        "def wait_for_ever():\n"
        "    with StopSignals():\n"
        "        threading.Event().wait()\n"
        "dist.destroy_process_group = wait_for_ever\n"
        "def _train(request, cfg, settings, world, work_dir, log):\n"
        "    dist.barrier()\n"
        "    if world.rank == 1:\n"
        "        raise UserError('no such picture')\n"
        "    wait_for_ever()\n"
        "run._train = _train\n"
        f"arguments = [{str(DEMO / 'f1_demo.py')!r}, '--work-dir', {str(tmp_path / 'run')!r}]\n"
        "run_cli(lambda: train.main([*arguments, '--device', 'cpu']))\n"
    )
    status, _, errors = launch(script, "--nproc-per-node=2", "--max-restarts=3")
    assert (status, errors) == (2, "error: no such picture\n")


@pytest.mark.parametrize("told", ["143", ""])
def test_a_training_that_is_stopped_ends_with_the_status_asked_for(tmp_path, monkeypatch, told):
    """A pod that was evicted is done for Kubernetes where it ends with 0."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import os, signal\n"
        "assert 'STOPPED_STATUS' not in os.environ\n"
        "os.kill(os.getppid(), signal.SIGTERM)\n"
        "signal.pause()\n"
    )
    monkeypatch.setenv("STOPPED_STATUS", told)
    status, _, errors = launch(script, "--nproc-per-node=1")
    assert status == int(told or 0) and errors.endswith("stopped by SIGTERM\n")


def test_dist_train_without_arguments_explains_itself():
    done = subprocess.run(
        ["bash", "tools/dist_train.sh", "x.py"], cwd=CODE, capture_output=True, text=True
    )
    assert done.returncode == 2 and "usage: dist_train.sh CONFIG GPU_NUM" in done.stderr
