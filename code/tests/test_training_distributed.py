"""Two gloo processes compute the gradients of one process with twice the batch."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import torch
from training_toy import WORLD, ToyDataset, ToyModel, config, make_trainer

from projects.tracking_plugin.training import distributed
from projects.tracking_plugin.training.distributed import World
from projects.tracking_plugin.training.logs import TrainLog
from projects.tracking_plugin.training.loop import Job, Trainer
from projects.tracking_plugin.training.mm_config import read_settings
from projects.tracking_plugin.training.process import seed_everything

CODE = Path(__file__).resolve().parents[1]
Make = Callable[[Path, World, int], Trainer]


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


def _process(make: Make, rank: int, port: int, folder: Path) -> None:
    os.environ.update(
        WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    world = distributed.start("cpu")
    assert world == World(rank, rank, 2, torch.device("cpu"))
    torch.save(gradients(make, folder, world, samples=1), folder / f"grads_{rank}.pt")
    distributed.stop()


def compare(make: Make, folder: Path, tolerance: float) -> None:
    """``tolerance``: of every gradient, relative to the largest of its tensor."""
    torch.set_num_threads(1)  # the processes are forked: no thread pool may exist
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = []
    for rank in range(2):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                _process(make, rank, port, folder)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    alone = gradients(make, folder / "alone", WORLD, samples=2)
    for rank in range(2):
        shared = torch.load(folder / f"grads_{rank}.pt", weights_only=True)
        assert shared.keys() == alone.keys()
        for name, value in alone.items():
            error = (shared[name] - value).abs().max() / value.abs().max().clamp(min=1e-6)
            assert error < tolerance, name


def test_toy_gradients_are_equal(tmp_path):
    compare(make_toy, tmp_path, tolerance=1e-6)


def test_tracker_gradients_are_equal(tmp_path, demo_data, demo_infos):
    """The demo's step two on clips of two frames, its batch statistics frozen."""
    import projects.tracking_plugin.models  # noqa: F401 (registers the components)
    from projects.tracking_plugin.config import load_config
    from projects.tracking_plugin.datasets.collate import collate_clips
    from projects.tracking_plugin.datasets.loader import build_dataset
    from projects.tracking_plugin.registry import build_model

    cfg = load_config(
        CODE / "projects/configs/tracking/demo/f3_demo.py",
        [
            f"data.train.data_root={demo_data}/",
            f"data.train.ann_file={demo_infos['train']}",
            "data.train.num_frames_per_sample=2",
            "model.img_backbone.norm_eval=True",
        ],
    )

    def make(work_dir: Path, world: World, samples: int) -> Trainer:
        work_dir.mkdir(parents=True, exist_ok=True)
        seed_everything(0)
        settings = read_settings(config(**one_step(samples)))
        job = Job(
            build_model(cfg.model), build_dataset(cfg, "train"), collate_clips, settings, work_dir
        )
        return Trainer(job, world, TrainLog(work_dir, world.is_main, tensorboard=False))

    compare(make, tmp_path, tolerance=1e-3)
