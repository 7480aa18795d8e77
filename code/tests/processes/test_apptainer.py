"""RUNTIME=apptainer and `make sif`, by the calls of stand-ins: Debian has no Apptainer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pftrack.paths import REPOSITORY

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

APPTAINER = """#!/bin/bash
[ "$1" != build ] || echo image >"${@: -2:1}"
printf '%s|' "$@"
echo
compgen -e | grep -E '^(APPTAINER|SINGULARITY)ENV_' | while read -r n; do echo "$n=${!n}"; done
"""
PODMAN = """#!/bin/bash
[ "$1" != save ] || echo archive >"$3"
"""


@pytest.fixture
def make(tmp_path: Path):
    """Runs make in a copy of the project; ``commands``: the stand-ins' names."""
    root = tmp_path / "project"
    for name in ("scripts", "docker"):
        shutil.copytree(REPOSITORY / name, root / name)
    for path in [REPOSITORY / "Makefile", *REPOSITORY.glob("compose*.yaml")]:
        shutil.copy(path, root)
    (root / "code").mkdir()
    (root / "pf-track-cpu.sif").touch()

    def call(*arguments: str, commands=("apptainer",), **variables: str):
        folder = tmp_path / "bin"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in commands:
            (folder / name).write_text(PODMAN if name.startswith("podman") else APPTAINER)
            (folder / name).chmod(0o755)
        env = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": "/tmp", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(
            ["make", *arguments], cwd=root, env=env | variables, capture_output=True, text=True
        )

    return call


def test_a_command_sees_the_project_the_data_and_its_own_files_alone(make, tmp_path: Path):
    root = tmp_path / "project"
    checkpoint = tmp_path / "elsewhere" / "a.pth"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    data = tmp_path / "nuscenes"
    variables = {"NUSCENES_DIR": str(data), "NCCL_DEBUG": "INFO,x", "SECRET": "no"}
    done = make("inspect", f"CKPT={checkpoint}", "RUNTIME=apptainer", **variables)
    assert done.returncode == 0, done.stderr
    call, *environment = done.stdout.splitlines()
    assert call.split("|")[:-1] == [
        *("exec", "--cleanenv", "--pwd", f"{root}/code", "--bind", f"{root}:{root}:rw"),
        *("--bind", f"{data}:{root}/code/data/nuscenes:ro"),
        *("--bind", f"{checkpoint.parent}:{checkpoint.parent}:ro"),
        *(f"{root}/pf-track-cpu.sif", "python", "tools/inspect_checkpoint.py", str(checkpoint)),
    ]
    assert f"APPTAINERENV_PYTHONPATH={root}/code" in environment
    assert "APPTAINERENV_NCCL_DEBUG=INFO,x" in environment
    assert not [line for line in environment if "SECRET" in line]
    assert done.stderr.startswith(f"runtime: apptainer (image {root}/pf-track-cpu.sif; ")


def test_gpus_the_other_name_and_a_writable_data_set(make, tmp_path: Path):
    image = tmp_path / "mine.sif"
    image.touch()
    words = ["data", "RUNTIME=apptainer", f"SIF={image}", "VARIANT=cuda"]
    done = make(*words, commands=["singularity"], CUDA_VISIBLE_DEVICES="0,1")
    call, *environment = done.stdout.splitlines()
    assert f"|--nv|{image}|python|tools/create_data.py|" in call
    assert "/code/data/nuscenes:rw|" in call
    assert "SINGULARITYENV_CUDA_VISIBLE_DEVICES=0,1" in environment


def test_what_is_missing_is_one_line(make, tmp_path: Path):
    odd = tmp_path / "a,b"
    odd.mkdir()
    for variables, says in (
        ({"SIF": "/gone.sif"}, "SIF=/gone.sif: no such file; 'make sif' makes it where Docker"),
        ({"NUSCENES_DIR": str(odd)}, "a,b: Apptainer mounts no folder with a comma or colon"),
    ):
        done = make("test", "RUNTIME=apptainer", **variables)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert done.returncode == 2 and len(errors) == 1 and says in errors[0]
    if shutil.which("apptainer") is None and shutil.which("singularity") is None:
        done = make("test", "RUNTIME=apptainer", commands=[])
        assert done.returncode == 2 and "neither apptainer nor singularity is" in done.stderr


def test_sif_is_made_from_the_engines_image_or_not_at_all(make, tmp_path: Path):
    image = tmp_path / "new.sif"
    commands = ["apptainer", "podman"]
    hidden = {"RUNTIME": "podman"}
    done = make("sif", f"SIF={image}", "VARIANT=cpu", commands=commands, **hidden)
    assert done.returncode == 0, done.stderr
    assert image.is_file() and [path.name for path in tmp_path.glob(".sif*")] == []
    assert "|docker-archive:" in done.stdout
