"""The demo's step two on clips of two frames, as a trainer: the real model, seconds a step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from training_toy import WORLD, config

from pftrack.datasets.collate import collate_clips
from pftrack.paths import CODE
from pftrack.structures import ClipBatch
from pftrack.training.distributed import World
from pftrack.training.logs import TrainLog
from pftrack.training.loop import Job, Trainer
from pftrack.training.mm_config import read_settings
from pftrack.training.process import seed_everything


def demo_config(data_root: Path, infos: Path, *overrides: str) -> Any:
    """``f3_demo.py`` on a data set of the tests."""
    from pftrack.config import load_config

    return load_config(
        CODE / "projects/configs/tracking/demo/f3_demo.py",
        [
            f"data.train.data_root={data_root}/",
            f"data.train.ann_file={infos}",
            "data.train.num_frames_per_sample=2",
            *overrides,
        ],
    )


def make_demo_trainer(
    work_dir: Path,
    cfg: Any,
    world: World = WORLD,
    collate: Callable[[list[Any]], ClipBatch] = collate_clips,
    **changes: Any,
) -> Trainer:
    """A trainer of the demo's model; ``changes`` of the toy's training configuration."""
    import pftrack.models  # noqa: F401 (registers the components)
    from pftrack.datasets.build import build_dataset
    from pftrack.registry import build_model

    work_dir.mkdir(parents=True, exist_ok=True)
    seed_everything(0)
    settings = read_settings(config(**changes))
    job = Job(build_model(cfg.model), build_dataset(cfg, "train"), collate, settings, work_dir)
    return Trainer(job, world, TrainLog(work_dir, world.is_main, tensorboard=False))
