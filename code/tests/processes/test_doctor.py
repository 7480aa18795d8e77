"""``make doctor``: with the environment, and before there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pftrack.paths import CODE, REPOSITORY

NAMES = ("driver", "Docker", "Python", "environment", "disk", "memory", "nuScenes", "checkpoints")


def test_the_tool_says_a_line_for_everything() -> None:
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "tools/doctor.py"], cwd=CODE, env=env, capture_output=True, text=True
    )
    lines = [line.split() for line in done.stdout.splitlines() if line]
    assert {line[1] for line in lines} >= {*NAMES, "PyTorch"}, done.stderr
    wrong = any(line[0] == "WRONG" for line in lines)
    assert done.returncode == wrong and lines[-1][-1] == "way"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_doctor_works_before_the_set_up(tmp_path: Path) -> None:
    """In a copy without .venv, with a Python that has no package at all."""
    project = tmp_path / "project"
    skip = shutil.ignore_patterns("golden", "__pycache__", "work_dirs", "data", "tests")
    shutil.copytree(CODE / "pftrack", project / "code" / "pftrack", ignore=skip)
    shutil.copytree(CODE / "tools", project / "code" / "tools", ignore=skip)
    for name in ("scripts", "docker"):
        shutil.copytree(REPOSITORY / name, project / name)
    (project / "checkpoints").mkdir()
    shutil.copy(REPOSITORY / "checkpoints" / "manifest.json", project / "checkpoints")
    shutil.copy(REPOSITORY / "Makefile", project)
    bare = f"PYTHON={sys._base_executable}"
    names = ("PATH", "HOME", "TMPDIR", "LANG")
    env = {name: os.environ[name] for name in names if name in os.environ}
    env["PATH"] = env["PATH"].replace(f"{Path(sys.executable).parent}:", "")
    command = ["make", "doctor", bare, "RUNTIME=native", "NUSCENES=data/elsewhere"]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    found = {words[1]: (words[0], words[2]) for words in lines if len(words) == 3}
    assert found["environment"] == ("todo", "none yet: 'make setup' (any target makes it)")
    assert "data/elsewhere: README" in found["nuScenes"][1]
    assert found.keys() >= set(NAMES), done.stderr
    assert not (project / ".venv").exists()
