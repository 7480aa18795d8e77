"""Tracked frames: time with changing numbers of tracks, waits for the device, memory, compiling."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch

from laboratory.gpu_check.setting import (
    Result,
    Setting,
    configuration,
    free_memory,
    image_size,
    milliseconds,
    peak_gib,
    seeded_model,
)
from laboratory.gpu_check.training import make_trainer
from laboratory.synthetic import noise_clip
from pftrack.models.acceleration import compile_network, precision_context
from pftrack.paths import CODE
from pftrack.structures import ClipBatch
from pftrack.training.loop import Trainer
from pftrack.training.process import allow_tf32

# Where the host may wait for the device, by function: what the documents promise.
WAITS_TRACKING = {"life_cycle.py:_to_host"}
WAITS_TRAINING = {"tracking_loss.py:_to_host", "loop.py:_agree"}


def tracked_frames(config: str, precision: str, setting: Setting, compiled: bool = False) -> Result:
    """Median and 95th percentile of a frame while the number of live tracks changes.

    Decoding is not counted; the copy of the images to the device is.
    """
    cfg = configuration(config)
    model = seeded_model(cfg, setting).eval()
    if compiled:
        compile_network(model)
    free_memory(setting)
    stream = _Stream(model, noise_clip(image_size(cfg), 2), setting, precision)
    seconds = [stream.frame() for _ in range(setting.repetitions(60))]
    later = seconds[len(seconds) // 3 :]
    values: dict[str, Any] = {
        "first ms": milliseconds(seconds[0]),
        "median ms": milliseconds(median(later)),
        "p95 ms": milliseconds(quantiles(later, n=20)[-1] if len(later) > 1 else later[0]),
        "peak GiB": peak_gib(setting),
        "tracks": f"{min(stream.counts)} to {max(stream.counts)}",
    }
    if compiled:
        stats = torch._dynamo.utils.counters["stats"]
        values["compiled graphs"] = stats["unique_graphs"]
    return Result(values)


def memory_stays(config: str, setting: Setting) -> Result:
    """Allocated memory after 200 frames against after 40, with the same number of tracks."""
    cfg = configuration(config)
    model = seeded_model(cfg, setting).eval()
    frames = setting.repetitions(200)
    stream = _Stream(model, noise_clip(image_size(cfg), 2), setting, "fp32")
    allocated = []
    for _ in range(frames):
        stream.frame(100)
        allocated.append(torch.cuda.memory_allocated() if setting.on_gpu else 0)
    settled = allocated[min(40, frames - 1)]
    growth = allocated[-1] - settled
    result = Result({"frames": frames, "MiB": settled >> 20, "growth KiB": growth / 1024})
    result.demand(growth <= 1 << 20, f"{growth / 2**20:.1f} MiB more after {frames} frames")
    return result


def waits_while_tracking(config: str, setting: Setting) -> Result:
    """Which functions make the host wait for the device in a tracked frame."""
    cfg = configuration(config)
    model = seeded_model(cfg, setting).eval()
    stream = _Stream(model, noise_clip(image_size(cfg), 2), setting, "fp16")
    stream.frame(50)
    with _waits(setting) as found:
        stream.frame(50, wait=False)
    return _judge_waits(found, WAITS_TRACKING)


def waits_while_training(config: str, setting: Setting) -> Result:
    """Which functions make the host wait for the device in a training step."""
    trainer, _ = make_trainer(configuration(config), setting, 3, Path(), precision="bf16")
    clip = trainer.job.dataset[0].pin_memory() if setting.on_gpu else trainer.job.dataset[0]
    parallel = trainer.model.train()
    Trainer._step(trainer, parallel, clip)
    with _waits(setting) as found:
        Trainer._step(trainer, parallel, clip)
    return _judge_waits(found, WAITS_TRAINING)


class _Stream:
    """One endless scene whose number of live tracks is set from outside.

    Random weights are sure of nothing, so every instance becomes a track and a part is kept.
    """

    def __init__(self, model: Any, clip: ClipBatch, setting: Setting, precision: str) -> None:
        self.model, self.setting, self.precision = model, setting, precision
        self.clip = clip.pin_memory() if setting.on_gpu else clip
        self.sure = replace(
            model.thresholds,
            score_threshold=-1.0,
            record_threshold=-1.0,
            tracked_labels=tuple(range(model.num_classes)),
        )
        self.memory: Any = None
        self.count = 0
        self.counts: list[int] = []
        allow_tf32(True)

    def frame(self, tracks: int | None = None, wait: bool = True) -> float:
        """Seconds of one more frame, with ``tracks`` live ones; None: a changing number."""
        setting = self.setting
        wanted = 40 + self.count * 37 % 261 if tracks is None else tracks
        if self.memory is not None:
            live = self.memory.tracks
            rows = torch.arange(min(wanted, len(live)), device=setting.device)
            self.memory = replace(self.memory, tracks=live.select(rows))
            self.counts.append(len(rows))
        if wait:
            setting.synchronize()
        begun = time.perf_counter()
        batch = replace(
            self.clip.to(setting.device, non_blocking=True).normalized(),
            timestamp=self.clip.timestamp,
        )
        frame = batch.frame(self.count % 2)
        frame.scene_ids = ["noise"]
        with precision_context(self.precision, setting.device):
            _, self.memory = self.model.forward_track(frame, self.memory, self.sure)
        if wait:
            setting.synchronize()
        self.count += 1
        return time.perf_counter() - begun


@contextmanager
def _waits(setting: Setting) -> Iterator[set[str]]:
    """Collects ``file:function`` of this project wherever PyTorch reports a synchronisation."""
    found: set[str] = set()

    def note(message: Any, *_args: Any, **_kwargs: Any) -> None:
        if "called a synchronizing" in str(message):
            own = [f for f in traceback.extract_stack()[:-1] if f.filename.startswith(str(CODE))]
            if "gpu_check" in own[-1].filename:
                return
            found.add(f"{own[-1].filename.rsplit('/', 1)[-1]}:{own[-1].name}" if own else "?")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        if setting.on_gpu:
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            if setting.on_gpu:
                torch.cuda.set_sync_debug_mode("default")


def _judge_waits(found: set[str], promised: set[str]) -> Result:
    result = Result({"waits": ", ".join(sorted(found)) or "none"})
    hidden = sorted(found - promised)
    result.demand(not hidden, f"waits that the documents do not name: {', '.join(hidden)}")
    return result
