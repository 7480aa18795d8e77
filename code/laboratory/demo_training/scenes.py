"""Endless training scenes: worker processes render them and write what a tracker learns from.

Every dataset of :data:`SCENES_EACH` scenes has a seed, and so a town, of its own. It is written,
converted and read by the functions of the commands and of the training; then its files are deleted.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import types
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pftrack.processes import end_with_parent

SCENES_EACH = 2
FRAMES = 40
MAX_OBJECTS = 40  # ground truths of a frame; the generator has at most 28 near the car
FUTURE = 8


@dataclass
class SceneArrays:
    """One scene of T frames, G = :data:`MAX_OBJECTS`, F = :data:`FUTURE`.

    Attributes:
        img: [T, V, H, W, 3] uint8 BGR, augmented as training's clips are.
        lidar2img: [T, V, 4, 4] float32.  l2g: [T, 4, 4] float32.
        codes: [T, G, 10] float32 box codes.  labels: [T, G] int64, -1 beyond the ground truth.
        ids: [T, G] int64 the same object's throughout the scene, -1 beyond.
        steps: [T, G, F, 2] float32 displacements, m; 0 where ``observed`` [T, G, F] is False.
    """

    img: np.ndarray
    lidar2img: np.ndarray
    l2g: np.ndarray
    codes: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    steps: np.ndarray
    observed: np.ndarray

    def save(self, path: Path) -> None:
        """Write to ``path``, which appears when it is whole."""
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            for field in fields(self):
                np.save(file, getattr(self, field.name))
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> SceneArrays:
        with path.open("rb") as file:
            return cls(*(np.load(file) for _ in fields(cls)))


def start_workers(
    folder: Path, config_file: Path, count: int, seed: int, visibility: float, frames: int = FRAMES
) -> list[Any]:
    """Processes that write scenes to ``folder`` until they are killed.

    Dataset i of process w has the seed ``seed + w + i * count``.
    """
    context = multiprocessing.get_context("spawn")
    workers = []
    for index in range(count):
        args = (folder, config_file, seed + index, count, visibility, frames)
        worker = context.Process(target=_render, args=args, daemon=True)
        worker.start()
        workers.append(worker)
    return workers


def _render(
    folder: Path, config_file: Path, seed: int, stride: int, visibility: float, frames: int
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    os.nice(5)  # the training's one process comes first
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    name_categories_without_devkit()
    while True:
        for number, scene in enumerate(make_scenes(folder, config_file, seed, visibility, frames)):
            scene.save(folder / f"{seed}_{number}.scene")
        seed += stride


def make_scenes(
    folder: Path, config_file: Path, seed: int, visibility: float, frames: int = FRAMES
) -> list[SceneArrays]:
    """Render, convert and read the dataset of a seed; its files are gone afterwards."""
    from laboratory.demo_data.generate import generate_dataset
    from pftrack.config import load_config
    from pftrack.conversion.convert import Converter
    from pftrack.conversion.run import write_infos
    from pftrack.datasets.build import build_dataset
    from pftrack.nuscenes.tables import load_tables
    from pftrack.nuscenes.versions import MINI

    root = folder / f"dataset_{seed}"
    generate_dataset(root, SCENES_EACH, frames, seed=seed, version=MINI, visibility=visibility)
    tables = load_tables(root, MINI, 0)
    converter = Converter(tables, root)
    infos = converter.infos(np.arange(len(tables.sample["token"])))
    write_infos(root / "infos.pkl", infos, MINI)
    cfg = load_config(config_file, [])
    options = {"ann_file": root / "infos.pkl", "data_root": root, "seed": seed}
    dataset = build_dataset(
        cfg, "train", num_frames_per_sample=frames, filter_empty_gt=False, **options
    )
    # The clip that ends with a scene's last frame is the scene.
    scenes = [clip_arrays(dataset[scene[-1]]) for scene in dataset.scenes.values()]
    shutil.rmtree(root)
    return scenes


def clip_arrays(clip: Any) -> SceneArrays:
    """What is learned from of a clip that the training dataset gave."""
    from pftrack.models.box_coder import normalize_bbox

    frames = len(clip.targets)
    codes = np.zeros((frames, MAX_OBJECTS, 10), np.float32)
    labels = np.full((frames, MAX_OBJECTS), -1, np.int64)
    ids = np.full((frames, MAX_OBJECTS), -1, np.int64)
    steps = np.zeros((frames, MAX_OBJECTS, FUTURE, 2), np.float32)
    observed = np.zeros((frames, MAX_OBJECTS, FUTURE), bool)
    for t, truth in enumerate(clip.targets):
        n = len(truth)
        if n > MAX_OBJECTS:
            raise ValueError(f"a frame has {n} objects, more than {MAX_OBJECTS}")
        codes[t, :n] = normalize_bbox(truth.boxes)
        labels[t, :n] = truth.labels
        ids[t, :n] = truth.instance_inds
        locs = truth.forecasting_locs[:, : FUTURE + 1, :2].numpy()
        seen = truth.forecasting_masks[:, : FUTURE + 1].numpy()
        observed[t, :n] = seen[:, 1:] & seen[:, :-1]
        steps[t, :n] = np.diff(locs, axis=1) * observed[t, :n, :, None]
    img = clip.img.numpy()
    l2i = clip.lidar2img.astype(np.float32)
    return SceneArrays(img, l2i, clip.l2g, codes, labels, ids, steps, observed)


def name_categories_without_devkit() -> None:
    """Stand in for the devkit's one function that conversion needs, in this process.

    Importing the devkit takes seconds, and a machine lent for a training may not have it.
    """
    from pftrack.nuscenes.facts import CATEGORIES

    names = {category: name for name, category in CATEGORIES.items()}
    for package in ("nuscenes", "nuscenes.eval", "nuscenes.eval.detection"):
        sys.modules[package] = types.ModuleType(package)
    stand_in = types.ModuleType("nuscenes.eval.detection.utils")
    stand_in.category_to_detection_name = names.get  # type: ignore[attr-defined]
    sys.modules[stand_in.__name__] = stand_in
