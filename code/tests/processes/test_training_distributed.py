"""Two gloo processes compute the gradients of one process with twice the batch.

In float64, where two orders of summation differ by 1e-16 and not by what a mistake could hide in.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from child_process import in_children
from training_demo import demo_config, make_demo_trainer
from training_toy import WORLD, ToyDataset, ToyModel, make_trainer

from pftrack.datasets.collate import collate_clips
from pftrack.structures import ClipBatch, FrameTargets
from pftrack.training import distributed, loop
from pftrack.training.distributed import World
from pftrack.training.loop import Trainer
from pftrack.training.process import seed_everything

Make = Callable[[Path, World, int], Trainer]
TOLERANCE = 1e-9
pytestmark = pytest.mark.forks


@pytest.fixture(autouse=True)
def float64(monkeypatch):
    """Every new parameter and every ``x.float()`` is float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    yield
    torch.set_default_dtype(before)


def double(batch: ClipBatch) -> ClipBatch:
    """The loader's batch with its float32 tensors as float64 (images stay bytes)."""

    def target(frame: FrameTargets) -> FrameTargets:
        floats = {k: v.double() for k, v in vars(frame).items() if v.is_floating_point()}
        return replace(frame, **floats)

    targets = [[target(frame) for frame in clip] for clip in batch.targets]
    return replace(batch, l2g=batch.l2g.double(), targets=targets)


def one_step(samples: int) -> dict:
    """Settings of a single step whose gradients are not clipped."""
    return {
        "data": {"samples_per_gpu": samples, "workers_per_gpu": 0},
        "optimizer_config": {},
        "runner": {"max_epochs": 1, "max_iters": 1},
        "checkpoint_config": {"interval": 10},
    }


def make_toy(work_dir: Path, world: World, samples: int) -> Trainer:
    seed_everything(5)
    model = ToyModel(dropout=0.0, batch_norm=False)
    return make_trainer(work_dir, model, ToyDataset(8), world, **one_step(samples))


def gradients(make: Make, work_dir: Path, world: World, samples: int) -> dict[str, torch.Tensor]:
    """Gradients of the first step."""
    trainer = make(work_dir, world, samples)
    taken: dict[str, torch.Tensor] = {}

    def take(optimizer):
        parameters = trainer.model.named_parameters()
        taken.update({n: p.grad.clone() for n, p in parameters if p.requires_grad})

    trainer.scaler.step = take  # type: ignore[method-assign]
    trainer.run()
    return taken


def _process(work: Callable[[World], None], rank: int, port: int) -> None:
    os.environ.update(
        WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    world = distributed.start("cpu")
    assert world == World(rank, rank, 2, torch.device("cpu"))
    work(world)
    distributed.stop()


def in_two_processes(work: Callable[[World], None]) -> None:
    torch.set_num_threads(1)  # the processes are forked: no thread pool may exist
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert in_children(*(partial(_process, work, rank, port) for rank in range(2))) == [0, 0]


def compare(make: Make, folder: Path) -> None:
    """Every gradient of both processes against one process, relative to its tensor's largest."""

    def work(world: World) -> None:
        taken = gradients(make, folder, world, samples=1)
        torch.save(taken, folder / f"grads_{world.rank}.pt")

    in_two_processes(work)
    alone = gradients(make, folder / "alone", WORLD, samples=2)
    for rank in range(2):
        shared = torch.load(folder / f"grads_{rank}.pt", weights_only=True)
        assert shared.keys() == alone.keys()
        for name, value in alone.items():
            assert value.dtype == torch.float64
            error = (shared[name] - value).abs().max() / value.abs().max().clamp(min=1e-9)
            assert error < TOLERANCE, f"{name}: {error:.1e}"


def test_toy_gradients_are_equal(tmp_path):
    compare(make_toy, tmp_path)


def test_tracker_gradients_are_equal(tmp_path, demo_data, demo_infos):
    """The demo's step two on clips of two frames, its batch statistics frozen."""
    frozen = "model.img_backbone.norm_eval=True"
    cfg = demo_config(demo_data, demo_infos["train"], frozen)

    def make(work_dir: Path, world: World, samples: int) -> Trainer:
        def collate(items: list) -> ClipBatch:
            return double(collate_clips(items))

        return make_demo_trainer(work_dir, cfg, world, collate, **one_step(samples))

    compare(make, tmp_path)


def test_one_process_reads_the_checkpoint_that_all_resume(tmp_path, monkeypatch):
    def work(world: World) -> None:
        trainer = make_toy(tmp_path, world, samples=1)
        trainer.run()
        path = tmp_path / "iter_1.pth"
        if not world.is_main:
            monkeypatch.setattr(loop, "load_checkpoint_file", None)
        resumed = make_toy(tmp_path, world, samples=1)
        resumed.resume(path)
        assert resumed.iteration == trainer.iteration > 0
        for ours, theirs in zip(
            (*resumed.model.parameters(), *moments(resumed)),
            (*trainer.model.parameters(), *moments(trainer)),
            strict=True,
        ):
            assert torch.equal(ours, theirs)

    def moments(trainer: Trainer) -> list[torch.Tensor]:
        return [state["exp_avg"] for state in trainer.optimizer.state.values()]

    in_two_processes(work)
