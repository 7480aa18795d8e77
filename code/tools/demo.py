"""The whole story on generated data: dataset, infos, step one, step two, evaluation, report, video.

Every stage is the command a user would type; it is printed before it runs. A stage that finished is
not run again, and training and inference continue where they stopped, so the demo can be
interrupted at any point and started again.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

CODE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CODE))

from projects.tracking_plugin.errors import UserError, run_cli  # noqa: E402

VERSION = "v1.0-mini"
CONFIGS = "projects/configs/tracking/demo"


@dataclass(frozen=True)
class Stage:
    """One step of the demo: what it is, the command, and the file whose existence says it is done."""

    title: str
    command: list[str]
    product: Path


def stages(out: Path, scenes: int, iterations: int) -> list[Stage]:
    """The demo as a list of commands, in order.

    Args:
        out: where everything goes.  scenes: generated scenes, the last fifth for validation.
        iterations: training iterations of each step.
    """
    python = sys.executable
    data = out / "nuscenes"
    shipped = CODE.parent / "checkpoints" / "demo"
    infos = {s: out / f"tracking_forecasting-mini_infos_{s}.pkl" for s in ("train", "val")}
    data_options = [f"data_root={data}/"]
    data_options += [f"data.{s}.data_root={data}/" for s in ("train", "val", "test")]
    data_options += [f"data.{s}.ann_file={infos[s]}" for s in ("train", "val")]
    data_options += [f"data.test.ann_file={infos['val']}"]

    def train(step: str, *options: str) -> list[str]:
        return [
            python,
            "tools/train.py",
            f"{CONFIGS}/{step}_demo.py",
            f"--work-dir={out / step}",
            "--auto-resume",
            "--cfg-options",
            f"runner.max_iters={iterations}",
            *data_options,
            *options,
        ]

    tracker = shipped / "f3_demo.pth"
    if not tracker.exists():
        tracker = out / "f3" / "latest.pth"
    result = out / "eval" / "results_nusc.json"
    return [
        Stage(
            "generate a dataset in the nuScenes format",
            [python, "tools/make_demo_data.py", str(data), f"--scenes={scenes}"],
            data / VERSION / "scene.json",
        ),
        Stage(
            "convert its tables to info files",
            [
                python,
                "tools/create_data.py",
                "nuscenes-tracking",
                f"--root-path={data}",
                f"--out-dir={out}",
                "--extra-tag=tracking_forecasting",
                f"--version={VERSION}",
                "--forecasting",
            ],
            infos["val"],
        ),
        Stage(f"step one: {iterations} iterations", train("f1"), out / "f1" / "done"),
        Stage(
            f"step two: {iterations} iterations, from step one",
            train("f3", f"load_from={out / 'f1' / 'latest.pth'}"),
            out / "f3" / "done",
        ),
        Stage(
            f"track the validation scenes with {tracker.name}, evaluate, write the report",
            [
                python,
                "tools/eval.py",
                str(tracker),
                f"--config={CONFIGS}/f3_demo.py",
                f"--work-dir={out / 'eval'}",
                "--cfg-options",
                *data_options,
            ],
            out / "eval" / "report.html",
        ),
        Stage(
            "draw the video",
            [
                python,
                "tools/make_video.py",
                str(result),
                f"--dataroot={data}",
                f"--version={VERSION}",
                f"--out={out / 'video'}",
            ],
            out / "video" / "videos.json",
        ),
    ]
