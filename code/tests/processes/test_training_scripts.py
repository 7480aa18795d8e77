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
    # More than a pipe holds: a reader that stops after the first host would show (exit 141).
    stand_in(tmp_path, "scontrol", "printf 'node%d\\n' {7..20000}")
    stand_in(tmp_path, "srun", 'for SLURM_NODEID in 0 1; do export SLURM_NODEID; "$@"; done')

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
    status, _, error = run("dist_train.sh", "c.py", "8", NNODES="2")
    assert status == 2 and "needs MASTER_ADDR" in error


def test_a_failed_check_starts_nothing(run, tmp_path):
    stand_in(tmp_path, "python", f"echo once >> {tmp_path}/log; exit 2")
    assert run("dist_train.sh", "c.py", "8")[:2] == (2, ["once"])


def test_slurm_starts_one_launcher_a_node(run):
    variables = {
        "SLURM_NNODES": "2", "SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_GPUS_ON_NODE": "4", "SLURM_SUBMIT_DIR": str(CODE),
    }  # fmt: skip
    status, lines, error = run("slurm_train.sh", "c.py", "w", **variables)
    assert status == 0, error
    launches = [line for line in lines if "training.launch" in line]
    for launch, host in zip(launches, ("true", "false"), strict=True):
        assert "--nnodes 2 --nproc-per-node 4" in launch and "--rdzv-id 17" in launch
        assert f"--rdzv-endpoint node7:20017 --rdzv-conf is_host={host}" in launch
        assert launch.endswith("c.py --device cuda --work-dir w --auto-resume")
