"""The reference runs' models and frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from laboratory.parity.compare import GoldenFile
from laboratory.parity.inputs import clip_images
from laboratory.parity.weights import fill
from pftrack.config import load_config
from pftrack.models.trackers.tracker import Cam3DTracker
from pftrack.registry import build_model
from pftrack.structures import FrameBatch

CONFIGS = "projects/configs/tracking"


def reference_model(golden: GoldenFile) -> Cam3DTracker:
    """The tracker of a golden file's configuration with the formula's weights, in eval mode.

    The last one is kept: a caller that changes it must undo that.
    """
    model = _reference_model(golden.config, golden.folder)
    return model.eval()


@lru_cache(maxsize=1)
def _reference_model(config: str, folder: Path) -> Cam3DTracker:
    model = build_model(load_config(f"{CONFIGS}/{config}.py").model)
    biases = folder / "cls_bias.json"
    replaced = json.loads(biases.read_text()).get(config) if biases.is_file() else None
    fill(model, cls_bias=replaced)
    return model


def reference_frame(golden: GoldenFile) -> FrameBatch:
    """The only frame of an a_ or b_ file."""
    return FrameBatch(
        img=torch.from_numpy(clip_images(golden.meta["image"]))[:, 0],
        img_shape=tuple(golden.meta["image"]["img_shape"]),
        lidar2img=torch.from_numpy(golden.arrays["lidar2img"])[None],
        l2g=torch.eye(4)[None],
        timestamp=torch.zeros(1, dtype=torch.float64),
    )


@contextmanager
def training_without_chance(model: Any) -> Iterator[None]:
    """Training mode without dropout and GridMask; undone afterwards."""
    mask, model.grid_mask = model.grid_mask, None
    dropouts: list[tuple[nn.Module, str, float]] = []
    for module in model.modules():
        for kind, name in ((nn.Dropout, "p"), (nn.MultiheadAttention, "dropout")):
            if isinstance(module, kind):
                dropouts.append((module, name, getattr(module, name)))
                setattr(module, name, 0.0)
    model.train()
    try:
        yield
    finally:
        model.eval()
        model.grid_mask = mask
        for module, name, value in dropouts:
            setattr(module, name, value)
