"""dist_train.sh and slurm_train.sh: what they start, seen through stand-ins for their commands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pftrack.paths import CODE


def stand_in(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def run(tmp_path):
    """Run a script with a 'python' that notes its arguments; returns (status, notes, errors)."""
    log = tmp_path / "log"
    stand_in(tmp_path, "python", f'echo "python $*" | sed "s|{CODE}/||g" >> {log}')
    stand_in(tmp_path, "scontrol", "[ $2 != hostnames ] || printf 'node%d\\n' {7..20000}")
    stand_in(tmp_path, "srun", 'shift; for SLURM_NODEID in 0 1; do export SLURM_NODEID; "$@"; done')

    def call(script: str, *arguments: str, **variables: str) -> tuple[int, list[str], str]:
        log.write_text("")
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **variables}
        command = ["bash", f"tools/{script}", *arguments]
        done = subprocess.run(command, cwd=CODE, env=env, capture_output=True, text=True)
        return done.returncode, log.read_text().splitlines(), done.stderr

    return call


def test_one_process_is_plain_python(run):
    assert run("dist_train.sh", "c.py", "0", "--seed", "1") == (
        0, ["python tools/train.py c.py --device cpu --seed 1"], "",
    )  # fmt: skip
    assert run("dist_train.sh", "c.py", "1")[1] == ["python tools/train.py c.py --device cuda"]
    lines = run("dist_train.sh", "c.py", "1", DEVICE="cpu")[1]
    assert lines == ["python tools/train.py c.py --device cpu"]


def test_several_processes_are_checked_then_launched(run):
    check, launch = run("dist_train.sh", "c.py", "8", "--work-dir", "w")[1]
    assert check == "python tools/train.py c.py --device cuda --work-dir w --dry-run"
    assert launch == (
        "python -m pftrack.training.launch --nnodes 1 --nproc-per-node 8 "
        "--max-restarts 3 --standalone tools/train.py c.py --device cuda --work-dir w"
    )


def test_several_nodes_meet_at_the_first(run):
    variables = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "h0", "PORT": "1234"}
    launch = run("dist_train.sh", "c.py", "8", **variables)[1][-1]
    assert "--nnodes 2 --nproc-per-node 8" in launch
    assert "--rdzv-endpoint h0:1234 --rdzv-conf is_host=false" in launch
    variables |= {"MASTER_PORT": "4321"}
    assert "--rdzv-endpoint h0:4321 " in run("dist_train.sh", "c.py", "8", **variables)[1][-1]


def test_a_failed_check_starts_nothing(run, tmp_path):
    stand_in(tmp_path, "python", f"echo once >> {tmp_path}/log; exit 2")
    assert run("dist_train.sh", "c.py", "8")[:2] == (2, ["once"])


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "needs MASTER_ADDR (the first machine) and NODE_RANK"),
        ({"MASTER_ADDR": "h0", "NODE_RANK": "2"}, "NODE_RANK=2: the machines are numbered 0 to 1"),
        ({"MASTER_ADDR": "h0", "NODE_RANK": "b"}, "NODE_RANK=b: must be a whole number"),
        ({"MASTER_PORT": "70000"}, "MASTER_PORT=70000: must be between 1 and 65535"),
        ({"JOIN_TIMEOUT": "0"}, "JOIN_TIMEOUT=0: must be at least 1 s"),
    ],
)
def test_a_wrong_value_is_one_line(run, variables, says):
    status, started, error = run("dist_train.sh", "c.py", "8", NNODES="2", **variables)
    assert (status, started) == (2, []) and says in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("master", ["fd00::1", "[fd00::1]"])
def test_an_ipv6_address_gets_its_brackets(run, master):
    variables = {"NNODES": "2", "NODE_RANK": "0", "MASTER_ADDR": master}
    assert (
        "--rdzv-endpoint [fd00::1]:29500 " in run("dist_train.sh", "c.py", "8", **variables)[1][1]
    )


OPERATORS = {
    "Kubeflow's first": {"WORLD_SIZE": "2", "RANK": "1"},
    "Kubeflow's today": {
        "WORLD_SIZE": "16", "RANK": "1", "PET_NNODES": "2", "PET_NODE_RANK": "1",
        "PET_NPROC_PER_NODE": "8", "PET_MASTER_ADDR": "elsewhere",
    },
}  # fmt: skip


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_environment_of_an_operator_names_the_machines_and_reaches_no_process(
    run, tmp_path, operator
):
    stand_in(
        tmp_path,
        "python",
        f'echo "$* $(compgen -e | grep -cE "^PET_|RANK|WORLD")" >> {tmp_path}/log',
    )
    given = {"MASTER_ADDR": "job-0", "MASTER_PORT": "23456", **OPERATORS[operator]}
    check, launch = run("dist_train.sh", "c.py", "8", **given)[1]
    assert check.endswith("--dry-run 1")  # LOCAL_WORLD_SIZE, the script's own
    assert "--nnodes 2 --nproc-per-node 8 " in launch and launch.endswith("cuda 0")
    assert "--rdzv-endpoint job-0:23456 --rdzv-conf is_host=false" in launch
    alone = {**given, "NNODES": "1"}
    assert run("dist_train.sh", "c.py", "1", **alone)[1][0].endswith("c.py --device cuda 0")


def test_slurm_scripts_end_in_one_line_outside_a_job_and_without_gpus(run):
    status, _, error = run("slurm_train.sh", "c.py", "w")
    assert status == 2 and error.endswith("start this script with sbatch\n")
    job = {"SLURM_JOB_ID": "17"}
    for script in ("slurm_train.sh", "slurm_eval.sh"):
        status, _, error = run(script, "c.py", "w", **job)
        assert status == 2 and "this job has no GPUs: give sbatch --gpus-per-node N" in error
        status, _, error = run(script, "c.py", "w", **job, SLURM_SUBMIT_DIR="/nowhere")
        assert (status, error) == (
            2, "error: no /nowhere/tools/slurm_job.sh: submit this script in code/\n",
        )  # fmt: skip
    job["GPUS"] = "1"
    status, _, error = run("slurm_eval.sh", "a.pth", "b.pth", **job)
    assert status == 2 and "2 checkpoints and no array: sbatch --array 0-1" in error
    status, _, error = run("slurm_eval.sh", "a.pth", **job, SLURM_ARRAY_TASK_ID="1")
    assert status == 2 and "job 1 of the array has no checkpoint, 1 were given" in error


def test_slurm_takes_the_first_of_many_hosts(run):
    """More than a pipe holds: a reader that stops after the first host would show (exit 141)."""
    variables = {"SLURM_NNODES": "2", "SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": "node[7-20000]"}
    variables["SLURM_GPUS_ON_NODE"] = "4"
    status, lines, error = run("slurm_train.sh", "c.py", "w", **variables)
    assert status == 0, error
    assert [line.count("--rdzv-endpoint node7:20017 ") for line in lines] == [0, 1, 0, 1]
