"""A machine whose driver is too old for the PyTorch here: every command says so in one line.

The driver is a stand-in of a few lines of C: PyTorch finds one GPU and cannot use it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pftrack.paths import CODE

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed"),
    pytest.mark.skipif(
        not (torch.version.cuda or "").startswith("13"),
        reason="the stand-in offers CUDA 12.4, which is enough for this PyTorch",
    ),
]
SOURCE = CODE / "tests" / "helpers" / "old_driver.c"
NVIDIA_SMI = '#!/bin/sh\ncase "$*" in *driver_version*) echo 550.54.14 ;; *) echo 0 ;; esac\n'
SAYS = (
    "1 GPU(s) asked for, this machine has 0 usable: NVIDIA's driver 550.54.14 is too old: it "
    "offers CUDA 12.4, this PyTorch is built for CUDA 13.0: install driver 580 or newer, or 'make "
    "setup CUDA=12' (for drivers from 525 on); DEVICE=cpu goes without GPUs"
)


@pytest.fixture(scope="module")
def old_driver(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process on such a machine."""
    folder = tmp_path_factory.mktemp("driver")
    library = folder / "libcuda.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    shutil.copy(library, folder / "libnvidia-ml.so.1")
    (folder / "nvidia-smi").write_text(NVIDIA_SMI)
    (folder / "nvidia-smi").chmod(0o755)
    env = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "DEVICE")}
    env["LD_LIBRARY_PATH"] = f"{folder}:{env.get('LD_LIBRARY_PATH', '')}"
    return {**env, "PATH": f"{folder}:{env['PATH']}"}


def run(env: dict[str, str], *command: str | Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, *map(str, command))
    return subprocess.run(command, cwd=CODE, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_training_is_one_line(old_driver, device, tmp_path, demo_infos):
    options = ["--device", device, "--work-dir", tmp_path / "work"]
    done = run(old_driver, "tools/train.py", "projects/configs/tracking/demo/f1_demo.py", *options)
    assert (done.returncode, done.stderr) == (2, f"error: {SAYS}\n")
    assert not (tmp_path / "work").exists()


def test_an_evaluation_is_one_line(old_driver, tmp_path):
    done = run(
        old_driver, "tools/eval.py", "../checkpoints/demo/f3_demo.pth", "--work-dir", tmp_path / "w"
    )
    assert (done.returncode, done.stderr) == (2, f"error: {SAYS}\n")
    assert not (tmp_path / "w").exists()


def test_a_tracker_is_no_silent_cpu(old_driver):
    program = (
        "from pftrack import load_tracker\n"
        "from pftrack.errors import run_cli\n"
        "f3 = 'projects/configs/tracking/demo/f3_demo.py'\n"
        "run_cli(lambda: print(load_tracker(f3, None, device='{}').device) or 0)\n"
    )
    done = run(old_driver, "-c", program.format("auto"))
    assert (done.returncode, done.stderr) == (2, f"error: {SAYS}\n")
    done = run(old_driver, "-c", program.format("cpu"))
    assert done.returncode == 0, done.stderr


def test_gpus_that_are_hidden_are_not_missed(old_driver):
    program = "from pftrack.devices import find_device; print(find_device('auto'))"
    done = run({**old_driver, "CUDA_VISIBLE_DEVICES": ""}, "-c", program)
    assert done.stdout == "cpu\n", done.stderr
