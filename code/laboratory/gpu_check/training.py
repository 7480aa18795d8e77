"""Training steps through the project's own Trainer: time, memory, resume, process groups."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from mmcv import Config
from torch import Tensor

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
from laboratory.synthetic import noise_clip
from pftrack.structures import ClipBatch
from pftrack.training.distributed import World
from pftrack.training.logs import TrainLog
from pftrack.training.loop import Job, Trainer
from pftrack.training.mm_config import read_settings
from pftrack.training.process import seed_everything

PRECISIONS = ("fp32", "fp16", "bf16")


def training_steps(config: str, precision: str, setting: Setting, **changes: Any) -> Result:
    """First, median and worst step of a published configuration, and its peak memory.

    Args:
        changes: of the training's settings.
    """
    cfg = configuration(config)
    steps = setting.repetitions(10)
    free_memory(setting)
    trainer, log = make_trainer(cfg, setting, steps, Path(), precision=precision, **changes)
    try:
        trainer.run()
    finally:
        seed_everything(0)
    seconds = log.seconds
    later = seconds[len(seconds) // 3 :]
    values = {
        "first ms": milliseconds(seconds[0]),
        "median ms": milliseconds(median(later)),
        "worst ms": milliseconds(max(later)),
        "peak GiB": peak_gib(setting),
        "loss": log.losses[-1].item(),
        "gradient norm": log.norms[-1].item(),
    }
    result = Result(values)
    losses = torch.stack(log.losses)
    result.demand(bool(losses.isfinite().all()), f"losses are not finite: {losses.tolist()}")
    return result


def resume_is_exact(config: str, setting: Setting) -> Result:
    """Stopped after two of four steps and resumed: the same weights as without the stop."""
    cfg = configuration(config)
    steps = 4
    with tempfile.TemporaryDirectory(prefix="pftrack_gpu_check_") as folder:
        whole, _ = make_trainer(cfg, setting, steps, Path(folder), deterministic=True)
        whole.run()
        expected = _weights(whole)
        del whole
        part, _ = make_trainer(cfg, setting, steps, Path(folder), deterministic=True)
        part.total_iters = steps // 2
        part.run()
        Trainer.save(part, "position.pth")
        del part
        resumed, _ = make_trainer(cfg, setting, steps, Path(folder), deterministic=True)
        resumed.resume(Path(folder) / "position.pth")
        resumed.run()
    found = _weights(resumed)
    seed_everything(0)
    differing = [k for k, v in expected.items() if not torch.equal(found[k], v)]
    largest = max(
        ((found[k].double() - v.double()).abs().max().item() for k, v in expected.items()),
        default=0.0,
    )
    result = Result({"entries": len(expected), "differing": len(differing), "largest": largest})
    result.demand(not differing, f"{len(differing)} entries differ by up to {largest:.1e}")
    return result


def process_group_of_one(config: str, setting: Setting) -> Result:
    """Steps under DistributedDataParallel (NCCL on a GPU) against steps without: equal losses."""
    cfg = configuration(config)
    alone, log = make_trainer(cfg, setting, 3, Path(), deterministic=True)
    alone.run()
    losses = [loss.item() for loss in log.losses]
    del alone
    backend = "nccl" if setting.on_gpu else "gloo"
    device = torch.device("cuda", torch.cuda.current_device()) if setting.on_gpu else None
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, device_id=device)
    try:
        together, log = make_trainer(cfg, setting, 3, Path(), deterministic=True)
        together.run()
    finally:
        dist.destroy_process_group()
        seed_everything(0)
    found = [loss.item() for loss in log.losses]
    error = max(abs(a - b) / abs(b) for a, b in zip(found, losses, strict=True))
    result = Result({"backend": backend, "loss": found[-1], "relative error": error})
    result.demand(error <= 1e-3, f"losses {found} against {losses} without a process group")
    return result


class StepLog(TrainLog):
    """Seconds, loss and gradient norm of every step; nothing is written."""

    def __init__(self) -> None:
        super().__init__(None, is_main=False)
        self.seconds: list[float] = []
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []

    def add(self, losses: dict[str, Tensor], data_time: float, step_time: float) -> None:
        self.seconds.append(step_time - data_time)
        self.losses.append(losses["loss"].detach())
        self.norms.append(losses["grad_norm"].detach())

    def write(self, *_: Any) -> None:
        """Nothing: no line is due."""


class Clips:
    """The same clip at every index: a loader that takes no time."""

    def __init__(self, clip: ClipBatch, length: int) -> None:
        self.clip, self.length = clip, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, _index: int) -> ClipBatch:
        return self.clip


class UnsavedTrainer(Trainer):
    """A trainer whose steps end when the device is done, and which writes no checkpoint."""

    def save(self, name: str) -> None:
        """Nothing is kept."""

    def _step(self, *args: Any) -> Any:
        result = super()._step(*args)
        if self.world.device.type == "cuda":
            torch.cuda.synchronize(self.world.device)
        return result


def make_trainer(
    cfg: Config, setting: Setting, steps: int, folder: Path, **changes: Any
) -> tuple[UnsavedTrainer, StepLog]:
    """A training of ``steps`` iterations of one clip a step."""
    settings = replace(
        read_settings(cfg),
        samples_per_gpu=1,
        workers_per_gpu=0,
        max_iters=steps,
        max_epochs=1,
        **changes,
    )
    clip = noise_clip(image_size(cfg), cfg.data.train.num_frames_per_sample)
    log = StepLog()
    job = Job(
        seeded_model(cfg, setting), Clips(clip, steps), lambda items: items[0], settings, folder
    )
    trainer = UnsavedTrainer(job, World(0, 0, 1, setting.device), log)
    return trainer, log


def _weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.cpu().clone() for name, value in trainer.model.state_dict().items()}
