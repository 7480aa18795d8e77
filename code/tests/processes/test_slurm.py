"""tools/slurm_*.sh under a real Slurm, whose pre-emptions a toy training survives bit for bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import slurm_cluster
from slurm_cluster import NODES, Slurm, until
from training_command import install
from training_toy import logged

pytestmark = pytest.mark.skipif(
    slurm_cluster.missing() is not None, reason=f"a real Slurm: {slurm_cluster.missing()}"
)
SCRIPTS = ("dist_train.sh", "slurm_train.sh", "slurm_eval.sh", "slurm_job.sh")


@pytest.fixture(scope="module")
def slurm():
    with slurm_cluster.running() as cluster:
        yield cluster


@pytest.mark.parametrize("told", ["processes", "shell"])
def test_a_preempted_training_saves_is_queued_again_and_ends_as_if_undisturbed(
    slurm: Slurm, tmp_path: Path, told: str
):
    """Slurm warns the processes with TERM, or the batch shell with the signal asked for."""
    slurm.set("SlurmctldParameters", {"shell": "preempt_send_user_signal", "processes": ""}[told])
    env = install(tmp_path, *SCRIPTS) | {"GPUS": "0"}
    options = [f"--output={tmp_path / 'log'}", "--cpus-per-task=2", "--parsable", "-p", "low"]
    work = tmp_path / "work"
    work.mkdir()
    command = ["sbatch", *options, "tools/slurm_train.sh", "5", str(work)]
    job = slurm.call(*command, cwd=tmp_path, env=env)
    log = tmp_path / "log"
    until((work / "reached").exists, f"not there: {log.read_text() if log.exists() else ''}")
    slurm.call("sbatch", "--wait", "-p", "high", "-N2", "--exclusive", "-o/dev/null", "--wrap=:")
    until(lambda: slurm.field(job, "Restarts") == "1", log.read_text())
    until(lambda: slurm.field(job, "JobState") == "PENDING", log.read_text())
    slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now")  # not in two minutes
    until(lambda: slurm.field(job, "JobState") == "COMPLETED", log.read_text())
    lines = log.read_text().splitlines()
    assert "from iteration 0 with 2 core(s)" in lines
    assert lines.index("stopped") < lines.index("saved before the end of the job: queued again")
    assert lines[-1] == "finished"
    assert "from iteration 6 with 2 core(s)" in lines  # nothing is done twice
    undisturbed = [sys.executable, "tools/train.py", "1000", "--work-dir", str(tmp_path / "whole")]
    subprocess.run(undisturbed, cwd=tmp_path, env=env, check=True, capture_output=True)
    assert logged(work) == logged(tmp_path / "whole")


def test_nodes_whose_names_nobody_knows_meet_by_address(slurm: Slurm, tmp_path: Path):
    env = install(tmp_path, *SCRIPTS)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$SRUN_CPUS_PER_TASK cores: $*"\n')
    python.chmod(0o755)
    env |= {"PYTHON": str(python), "GPUS": "4", "SRUN_OPTIONS": "--label --comment=$HOME"}
    log = tmp_path / "log"
    options = ["--wait", f"--output={log}", "-N2", "--cpus-per-task=2", "--parsable"]
    words = [*options, "tools/slurm_train.sh", "c.py", "w", "--seed", "1"]
    job = slurm.call("sbatch", *words, cwd=tmp_path, env=env)
    launches = sorted(line for line in log.read_text().splitlines() if "training.launch" in line)
    assert len(launches) == len(NODES)
    for rank, (line, host) in enumerate(zip(launches, ("true", "false"), strict=True)):
        assert line.startswith(f"{rank}: 2 cores: -m pftrack.training.launch --nnodes 2 ")
        assert f"--nproc-per-node 4 --max-restarts 3 --rdzv-backend c10d --rdzv-id {job} " in line
        port = 20000 + int(job) % 20000
        assert f"--rdzv-endpoint 127.0.0.1:{port} --rdzv-conf is_host={host} " in line
        assert line.endswith("--work-dir w --auto-resume --seed 1")


def test_an_array_evaluates_a_checkpoint_a_job(slurm: Slurm, tmp_path: Path):
    env = install(tmp_path, *SCRIPTS)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    (tmp_path / "tools" / "eval.py").touch()
    env |= {"PYTHON": str(python), "GPUS": "1"}
    checkpoints = ["w/epoch_1.pth", "w/epoch 2.pth"]
    options = ["--wait", f"--output={tmp_path}/log.%a", "--array=0-1"]
    words = [*options, "tools/slurm_eval.sh", *checkpoints, "--", "--split", "mini_val"]
    slurm.call("sbatch", *words, cwd=tmp_path, env=env)
    for index, checkpoint in enumerate(checkpoints):
        said = (tmp_path / f"log.{index}").read_text()
        assert said == f"{tmp_path}/tools/eval.py {checkpoint} --gpus 1 --split mini_val\n"
