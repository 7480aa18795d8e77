"""An exported graph against PyTorch, on generated frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pftrack.deployment.description import read_deployment
from pftrack.deployment.onnx_tracker import OnnxTracker
from pftrack.errors import UserError
from pftrack.models.acceleration import precision_context
from pftrack.models.trackers.life_cycle import NO_CANDIDATE
from pftrack.nuscenes.facts import CAMERAS
from pftrack.tracking.static_tracker import StaticTracker

Tensors = dict[str, Tensor]
Arrays = dict[str, np.ndarray]
Outcome = tuple[Arrays, Arrays]  # report and memory

FRAMES = 3
# Largest differences: of an instance's score, of where it is or has been seen (m), and of the
# features that its history keeps, which are of the order of 1.
BOUNDS = {
    "fp32": {"score": 1e-3, "center": 1e-2, "feature": 1e-2},
    "fp16": {"score": 0.05, "center": 0.5, "feature": 0.5},
}


def verify(
    folder: Path, tracker: StaticTracker, precision: str, cameras: int = len(CAMERAS)
) -> dict[str, float]:
    """Run a stream of noise through both, from the same made-up tracks on.

    Compared is what both say of the instances in their reports, reported or not, and of the tracks
    that live on in both.

    Returns:
        largest differences, by the names of :data:`BOUNDS`.

    Raises:
        UserError: they exceed the bounds.
    """
    step, run = tracker.static_step, _runner(folder, tracker)
    memory = made_up_tracks(step, sample_frame(tracker, cameras=cameras))
    largest, compared = dict.fromkeys(BOUNDS[precision], 0.0), 0
    for t in range(FRAMES):
        frame = sample_frame(tracker, t, cameras)
        theirs = run(frame, memory)
        with torch.no_grad(), precision_context(precision, step.device):
            report, memory = step(frame, memory)
        mine = _arrays(report), _arrays(memory)
        for kind, differences in _differences(tracker, mine, theirs):
            largest[kind] = max(largest[kind], float(differences.max(initial=0)))
            compared += differences.size
    bounds = BOUNDS[precision]
    if not compared or any(not largest[kind] <= bounds[kind] for kind in bounds):
        found = ", ".join(f"{kind} {largest[kind]:.2g} (bound {bounds[kind]:g})" for kind in bounds)
        raise UserError(
            f"the exported graph differs from PyTorch on generated frames: {found}; nothing is "
            "written; try PRECISION=fp32 or FORMAT=torch"
        )
    return largest


def sample_frame(
    tracker: StaticTracker, seed: int = 0, cameras: int = len(CAMERAS)
) -> dict[str, Tensor]:
    """A frame of noise, for a rig that looks around."""
    generator = torch.Generator().manual_seed(seed)
    height, width = tracker.images.padded_size
    images = torch.randint(
        0, 256, (cameras, height, width, 3), generator=generator, dtype=torch.uint8
    )
    valid_height, valid_width = tracker.images.augmentation.size
    images[:, valid_height:] = 0
    images[:, :, valid_width:] = 0
    matrices = _rig(height, width, cameras)
    if tracker.static_step.calibration == "img2lidar":
        matrices = torch.linalg.inv(matrices)
    ego_motion = torch.eye(4)
    ego_motion[0, 3] = -2.5
    return {
        "images": images,
        "calibration": matrices.float(),
        "ego_motion": ego_motion,
        "seconds": torch.tensor([0.5]),
        "new_sequence": torch.tensor([False]),
    }


def _rig(height: int, width: int, cameras: int) -> Tensor:
    """[V, 4, 4] float64 lidar to pixels of cameras at equal angles."""
    yaw = torch.arange(cameras, dtype=torch.float64) * (2 * torch.pi / cameras)
    zero, one, focal = torch.zeros_like(yaw), torch.ones_like(yaw), 0.8 * width
    lidar2cam = torch.stack(
        [yaw.sin(), -yaw.cos(), zero, zero]
        + [zero, zero, -one, zero]
        + [yaw.cos(), yaw.sin(), zero, zero]
        + [zero, zero, zero, one],
        dim=-1,
    ).view(-1, 4, 4)
    intrinsics = torch.tensor(
        [[focal, 0, width / 2, 0], [0, focal, height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        dtype=torch.float64,
    )
    return intrinsics @ lidar2cam


def made_up_tracks(step: Any, frame: dict[str, Tensor], share: float = 0.5) -> dict[str, Tensor]:
    """A memory of random tracks in a share of the slots, for frames like ``frame``."""
    generator = torch.Generator().manual_seed(0)
    memory = step.empty_memory(frame)
    random = {
        name: torch.rand(value.shape, generator=generator)
        for name, value in memory.items()
        if value.is_floating_point()
    }
    count = max(1, int(step.slots * share))
    memory |= random
    memory["bboxes"] = random["bboxes"] * 20 - 10
    memory["live"][:count] = True
    memory["track_query_mask"][:count] = True
    memory["obj_idxes"][:] = torch.arange(step.slots)
    memory["next_id"][:] = step.slots
    return memory


def _runner(folder: Path, tracker: StaticTracker) -> Callable[[Tensors, Tensors], Outcome]:
    """The graph as a function of a frame and a memory."""
    deployment = read_deployment(folder)
    if deployment.format == "onnx":
        session = OnnxTracker(folder)

        def run_onnx(frame: Tensors, memory: Tensors) -> Outcome:
            session.remember(_arrays(memory))
            return session.run(_arrays(frame)), session.memory()

        return run_onnx
    program = torch.export.load(folder / deployment.graph).module()

    def run_torch(frame: Tensors, memory: Tensors) -> Outcome:
        with torch.no_grad():
            report, left = program(frame, memory)
        return _arrays(report), _arrays(left)

    return run_torch


def _arrays(tensors: Tensors) -> Arrays:
    return {name: value.numpy() for name, value in tensors.items()}


def _differences(
    tracker: StaticTracker, mine: Outcome, theirs: Outcome
) -> Iterator[tuple[str, np.ndarray]]:
    """Kind and absolute differences; infinite where an instance is missing that should not be."""
    step = tracker.static_step
    (report, kept), (their_report, their_kept) = mine, theirs
    tracked = list(step.thresholds.tracked_labels)
    ranked, their_ranked = (
        np.where(np.isin(r["labels"], tracked), r["scores"], NO_CANDIDATE)
        for r in (report, their_report)
    )
    here, there = _same(report["rows"], their_report["rows"])
    sure = ranked > their_ranked.min() + BOUNDS["fp16"]["score"]
    yield "score", np.full(int((~np.isin(np.flatnonzero(sure), here)).sum()), np.inf)
    both = (ranked[here] >= 0) & (their_ranked[there] >= 0)
    here, there = here[both], there[both]
    yield "score", np.abs(report["scores"][here] - their_report["scores"][there])
    yield "center", np.abs(report["boxes"][here, :3] - their_report["boxes"][there, :3])
    slots, their_slots = (np.flatnonzero(m["live"]) for m in (kept, their_kept))
    here, there = _same(kept["obj_idxes"][slots], their_kept["obj_idxes"][their_slots])
    here, there = slots[here], their_slots[there]
    seen = kept["hist_xyz"][here] - their_kept["hist_xyz"][there]
    low, high = np.split(np.asarray(step.model.pc_range), 2)
    yield "center", np.abs(seen * (high - low))
    yield "feature", np.abs(kept["hist_embeds"][here] - their_kept["hist_embeds"][there])


def _same(mine: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the numbers stand that are in both."""
    _, here, there = np.intersect1d(mine, theirs, return_indices=True)
    return here, there
