"""The share of a training step that waits for images, on generated data."""

from __future__ import annotations

import tempfile
from pathlib import Path

from laboratory.benchmarks.train import make_data, measure
from laboratory.gpu_check.setting import Result, Setting, milliseconds


def loader_share(config: str, setting: Setting) -> Result:
    """Train on JPEG files of nuScenes' size, decoded and augmented by worker processes."""
    with tempfile.TemporaryDirectory(prefix="pftrack_gpu_check_") as folder:
        size = (400, 225) if setting.small else (1600, 900)
        make_data(Path(folder), size, frames=2 if setting.small else 8)
        iterations = setting.repetitions(24)
        overrides = [] if setting.on_gpu else ["data.workers_per_gpu=0"]
        warmup = 1 if setting.small else 8
        row = measure(config, Path(folder), iterations, warmup, overrides, setting.device.type)
    return Result(
        {
            "step ms": milliseconds(row.numbers["step s"]),
            "waiting": f"{row.numbers['waiting s'] / row.numbers['step s']:.0%}",
            "batch": int(row.numbers["batch"]),
        }
    )
