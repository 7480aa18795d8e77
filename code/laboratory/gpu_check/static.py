"""The static step: one CUDA graph a frame, against the ordinary tracker on the same frames."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from laboratory.benchmarks.track import make_frames
from laboratory.gpu_check.setting import CONFIGS, Result, Setting, milliseconds
from laboratory.parity.weights import fill
from pftrack.datasets.frames import prepare_frame
from pftrack.tracking.api import load_tracker


def static_frames(config: str, precision: str, setting: Setting) -> Result:
    """Milliseconds of a frame without decoding: ordinary, static, static as a CUDA graph."""
    file = CONFIGS / f"{config}.py"
    ordinary = load_tracker(file, None, setting.device, precision, fuse_conv_bn=False)
    if precision == "fp32":
        fill(ordinary.model)
    weights = {"state_dict": ordinary.model.state_dict()}
    trackers: dict[str, Any] = {"ordinary": ordinary}
    for name, cuda_graph in (("static", False), ("CUDA graph", True)):
        if cuda_graph and not setting.on_gpu:
            continue
        trackers[name] = load_tracker(
            file, weights, setting.device, precision, fuse_conv_bn=False,
            compile=False, static=True, cuda_graph=cuda_graph,
        )  # fmt: skip
    result = Result({})
    with tempfile.TemporaryDirectory(prefix="pftrack_gpu_check_") as folder:
        frames = make_frames(Path(folder), 2)
        arrays = [prepare_frame(f, ordinary.images.augmentation) for f in frames]
    for name, tracker in trackers.items():
        seconds = []
        for i in range(setting.repetitions(40)):
            begun = time.perf_counter()
            tracker.step_boxes(frames[i % 2], arrays[i % 2])
            setting.synchronize()
            seconds.append(time.perf_counter() - begun)
        result.values[f"{name}, first ms"] = milliseconds(seconds[0])
        result.values[f"{name}, median ms"] = milliseconds(median(seconds[len(seconds) // 3 :]))
    return result
