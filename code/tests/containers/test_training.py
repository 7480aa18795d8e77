"""Training inside the image, from generated data to a checkpoint, as a user types it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from pftrack.paths import REPOSITORY

ENGINE = os.environ.get("RUNTIME", "docker")
VARIANT = os.environ.get("VARIANT", "cpu")
CONFIG = "projects/configs/tracking/demo/f1_demo.py"

pytestmark = pytest.mark.docker


def run(*command: str) -> str:
    """A command in the project under the engine; its output."""
    settings = {"RUNTIME": ENGINE, "VARIANT": VARIANT}
    settings["IMAGE"] = os.environ.get("IMAGE", f"pf-track:{VARIANT}")
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_step_one_trains_on_generated_data_on_the_cpu():
    folder = REPOSITORY / "code" / "work_dirs" / "container-test"
    data = folder / "nuscenes"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        generate = ["python", "tools/make_demo_data.py", str(data), "--scenes", "2"]
        run("scripts/run.sh", "train", *generate, "--frames", "5", "--image-size", "400x225")
        # as `make data`, with the demo's version of the tables
        run("make", "data", f"NUSCENES={data}", "VERSION=v1.0-mini")
        changes = [f"data.{split}.data_root={data}/" for split in ("train", "val", "test")]
        for split, infos in (("train", "train"), ("val", "val"), ("test", "val")):
            file = data / f"tracking_forecasting-mini_infos_{infos}.pkl"
            changes.append(f"data.{split}.ann_file={file}")
        changes += ["runner.max_iters=2", "log_config.interval=1"]
        arguments = ["GPUS=0", f"CONFIG={CONFIG}", f"WORK_DIR={folder / 'f1'}"]
        printed = run(
            "make", "train-f1", *arguments, f"ARGS=--no-validate --cfg-options {' '.join(changes)}"
        )
        assert f"runtime: {ENGINE}" in printed
        assert "loss" in printed
        checkpoint = folder / "f1" / "latest.pth"
        assert checkpoint.stat().st_size > 1_000_000
        assert checkpoint.stat().st_uid == os.getuid()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
