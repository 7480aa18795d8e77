"""Training, evaluation and export inside the image, from generated data, as a user types them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder of the project with a small data set and its info files in nuscenes/."""
    folder = REPOSITORY / "code" / "work_dirs" / "container-test"
    data = folder / "nuscenes"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        generate = ["python", "tools/make_demo_data.py", str(data), "--scenes", "2"]
        run("scripts/run.sh", "train", *generate, "--frames", "5", "--image-size", "400x225")
        # as `make data`, with the demo's version of the tables
        run("make", "data", f"NUSCENES={data}", "VERSION=v1.0-mini")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_step_one_trains_on_generated_data_on_the_cpu(folder: Path):
    data = folder / "nuscenes"
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


def test_the_demo_tracker_is_evaluated_with_metrics_and_report(folder: Path):
    data = [f"NUSCENES={folder / 'nuscenes'}", "VERSION=v1.0-mini"]
    run("make", "eval", "CKPT=demo/f3_demo.pth", "GPUS=0", f"WORK_DIR={folder / 'eval'}", *data)
    results = json.loads((folder / "eval" / "results_nusc.json").read_text())["results"]
    assert len(results) == 5 and any(results.values())
    assert (folder / "eval" / "report.html").stat().st_size > 10_000


def test_the_demo_tracker_is_exported_and_agrees(folder: Path):
    run("make", "export", "CKPT=demo/f3_demo.pth", "SLOTS=60", f"OUT={folder / 'export'}")
    assert json.loads((folder / "export" / "deployment.json").read_text())
