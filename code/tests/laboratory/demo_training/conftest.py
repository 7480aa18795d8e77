"""Clips of the demo's generated scenes, as the demo training draws them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from demo_clips import CONFIG

from laboratory.demo_training.pool import ScenePool
from laboratory.demo_training.scenes import clip_arrays
from pftrack.config import load_config
from pftrack.datasets.build import build_dataset


@pytest.fixture(scope="module")
def clips(demo_data: Path, demo_infos: dict[str, Path]) -> list[Any]:
    """One clip of three frames of either scene: another number of objects, and so of tracks."""
    samples = []
    for split, last in (("train", 2), ("val", 5)):
        dataset = build_dataset(
            load_config(CONFIG, []),
            "train",
            ann_file=demo_infos[split],
            data_root=demo_data,
            num_frames_per_sample=3,
        )
        samples.append(dataset[last])
    return samples


@pytest.fixture
def pool(clips: list[Any], tmp_path: Path) -> ScenePool:
    pool = ScenePool(tmp_path, capacity=2, device=torch.device("cpu"), seed=0)
    for clip in clips:
        pool.add(clip_arrays(clip))
    return pool
