"""A model and a dataset of milliseconds, with everything that can break an exact resume: dropout,
batch statistics, augmentation by (seed, epoch, index), a loss normalised over the processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from pftrack.structures import ClipBatch, FrameTargets
from pftrack.training import distributed
from pftrack.training.distributed import World
from pftrack.training.logs import TrainLog
from pftrack.training.loop import Job, Trainer
from pftrack.training.mm_config import read_settings
from pftrack.training.process import hash_seed, seed_everything

WORLD = World(rank=0, local_rank=0, size=1, device=torch.device("cpu"))


class ToyDataset(Dataset[dict[str, Any]]):
    def __init__(self, length: int = 12, seed: int = 0, augment: bool = True) -> None:
        self.length, self.seed, self.augment, self.epoch = length, seed, augment, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        epoch = self.epoch if self.augment else 0
        generator = torch.Generator().manual_seed(hash_seed(self.seed, epoch, index))
        img = torch.randint(0, 255, (1, 1, 3, 8, 8), generator=generator, dtype=torch.uint8)
        return {"img": img, "count": 1 + index % 3, "token": f"token-{index}"}


def collate(items: list[dict[str, Any]]) -> ClipBatch:
    def target(count: int) -> FrameTargets:
        return FrameTargets(
            boxes=torch.zeros(count, 9),
            labels=torch.arange(count),
            instance_inds=torch.arange(count),
            forecasting_locs=torch.zeros(count, 13, 3),
            forecasting_masks=torch.zeros(count, 13, dtype=torch.bool),
        )

    b = len(items)
    return ClipBatch(
        img=torch.stack([item["img"] for item in items]),
        img_shape=(8, 8),
        lidar2img=torch.eye(4, dtype=torch.float64).expand(b, 1, 1, 4, 4),
        l2g=torch.eye(4).expand(b, 1, 4, 4),
        timestamp=torch.zeros(b, 1, dtype=torch.float64),
        targets=[[target(item["count"])] for item in items],
        sample_tokens=[[item["token"]] for item in items],
        scene_ids=["scene"] * b,
    )


class ToyModel(nn.Module):
    def __init__(self, dropout: float = 0.1, batch_norm: bool = True) -> None:
        super().__init__()
        norm = [nn.BatchNorm2d(4)] if batch_norm else []
        self.img_backbone = nn.Sequential(nn.Conv2d(3, 4, 3), *norm, nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(4, 3))

    def forward(self, batch: ClipBatch) -> dict[str, Tensor]:
        features = self.img_backbone(batch.img.flatten(0, 2)).mean((-2, -1))
        out = self.head(features)
        counts = torch.tensor([float(len(clip[0])) for clip in batch.targets])
        positives = distributed.reduce_mean(counts.sum()).clamp(min=1)
        wanted = torch.stack([counts, counts * 0, counts + 1], 1)
        return {
            "loss_bbox": ((out - wanted).abs() * counts[:, None]).sum() / positives,
            "loss_cls": ((out - wanted) ** 2 * counts[:, None]).sum() / positives,
        }


def config(**changes: Any) -> dict[str, Any]:
    """An mm-style training configuration with two epochs of four iterations."""
    return {
        "optimizer": {
            "type": "AdamW",
            "lr": 1e-2,
            "weight_decay": 0.01,
            "paramwise_cfg": {"custom_keys": {"img_backbone": {"lr_mult": 0.1}}},
        },
        "optimizer_config": {"grad_clip": {"max_norm": 35, "norm_type": 2}},
        "lr_config": {
            "policy": "CosineAnnealing",
            "warmup": "linear",
            "warmup_iters": 3,
            "warmup_ratio": 1 / 3,
            "min_lr_ratio": 1e-3,
        },
        "runner": {"type": "EpochBasedRunner", "max_epochs": 2},
        "data": {"samples_per_gpu": 3, "workers_per_gpu": 0},
        "checkpoint_config": {"interval": 2, "by_epoch": False},
        "log_config": {"interval": 1, "hooks": [{"type": "TextLoggerHook"}]},
        **changes,
    }


def make_trainer(
    work_dir: Path,
    model: nn.Module | None = None,
    dataset: ToyDataset | None = None,
    world: World = WORLD,
    evaluate: Any = None,
    **changes: Any,
) -> Trainer:
    """A trainer of the toy; ``changes`` of :func:`config`."""
    seed_everything(0)
    work_dir.mkdir(parents=True, exist_ok=True)
    settings = read_settings(config(**changes))
    job = Job(
        model or ToyModel(),
        dataset or ToyDataset(),
        collate,
        settings,
        work_dir,
        {"config": "toy", "record": {"config_file": "toy/f1_toy.py"}},
        evaluate,
    )
    return Trainer(job, world, TrainLog(work_dir, world.is_main, settings.tensorboard))


def logged(work_dir: Path) -> list[tuple[int, int, float, float]]:
    """(epoch, iteration, loss, grad norm) of every line of every log, in the order written."""
    lines = []
    for path in sorted(work_dir.glob("*.log.json"), key=lambda p: p.stat().st_mtime_ns):
        for text in path.read_text().splitlines():
            values = json.loads(text)
            if values.get("mode") == "train":
                lines.append((values["epoch"], values["iter"], values["loss"], values["grad_norm"]))
    return lines
