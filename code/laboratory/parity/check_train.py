"""Golden files c_: losses, matching and gradient norms of one training clip."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from laboratory.parity.arithmetic import arithmetic_of
from laboratory.parity.compare import GoldenFile, Row
from laboratory.parity.inputs import clip_images, read_targets
from laboratory.parity.models import reference_model, training_without_chance
from pftrack.models.trackers.track_instances import TrackInstances
from pftrack.structures import ClipBatch

# A gradient below this share of the largest one is what float32 leaves of an exact zero, for
# example of a bias that is added to all keys of a softmax.
VANISHING = float(np.finfo(np.float32).eps)


def check(golden: GoldenFile) -> Iterator[Row]:
    """The loss dict, matches and queries of every frame, the gradient norm of every parameter."""
    model, batch = reference_model(golden), _clip(golden)
    with (
        training_without_chance(model),
        arithmetic_of(model),
        _recorded_matches(model.criterion) as frames,
    ):
        losses, gradients = _iteration(model, batch)
    reference = golden.arrays
    names = [str(name) for name in reference["loss_keys"]]
    yield Row("loss_keys", sorted(losses), sorted(names))
    if set(names) <= set(losses):
        values = np.array([losses[name] for name in names])
        yield Row("loss_values", values, reference["loss_values"])
    total = np.float64(sum(value for name, value in losses.items() if "loss" in name))
    yield Row("total", total, reference["total"])
    for t, (before, after, num_targets) in enumerate(frames):
        yield Row(f"match.f{t}.obj_idxes", after.obj_idxes, reference[f"match.f{t}.obj_idxes"])
        yield Row(
            f"match.f{t}.matched_gt_idxes",
            _reference_numbering(before, after, num_targets),
            reference[f"match.f{t}.matched_gt_idxes"],
        )
        yield Row(
            f"match.f{t}.in_reference_points",
            before.state.reference_points,
            reference[f"match.f{t}.in_reference_points"],
        )
    yield from _gradient_rows(gradients, golden)


def _iteration(model: Any, batch: ClipBatch) -> tuple[dict[str, float], dict[str, float | None]]:
    """Losses and gradient norms by name; no gradients stay behind."""
    model.zero_grad(set_to_none=True)
    losses = model.forward_train(batch)
    total: Any = sum(value for name, value in losses.items() if "loss" in name)
    total.backward()
    gradients = {
        name: None if p.grad is None else p.grad.double().norm().item()
        for name, p in model.named_parameters()
    }
    model.zero_grad(set_to_none=True)
    return {name: value.item() for name, value in losses.items()}, gradients


def _gradient_rows(gradients: dict[str, float | None], golden: GoldenFile) -> Iterator[Row]:
    names = [str(name) for name in golden.arrays["grad_names"]]
    norms = golden.arrays["grad_norms"]
    without = [name for name, norm in gradients.items() if norm is None]
    yield Row("params_without_grad", sorted(without), sorted(golden.meta["params_without_grad"]))
    ours = np.array([gradients.get(name) or 0.0 for name in names])
    floor = VANISHING * norms.max()
    vanishing = norms < floor
    yield Row("grad_norms", ours[~vanishing], norms[~vanishing], "gradient")
    yield Row("grad_norms.vanishing", ours[vanishing] < floor, np.ones(vanishing.sum(), bool))


def _reference_numbering(
    before: TrackInstances, after: TrackInstances, num_targets: int
) -> np.ndarray:
    """``matched_gt_idxes`` as the reference writes them: those of newly matched instances count
    only the ground truths that no carried id had taken."""
    matched = after.matched_gt_idxes.numpy().copy()
    newborn = (before.obj_idxes.numpy() < 0) & (matched >= 0)
    taken = matched[(matched >= 0) & ~newborn]
    free = np.setdiff1d(np.arange(num_targets), taken)
    matched[newborn] = np.searchsorted(free, matched[newborn])
    return matched


def _clip(golden: GoldenFile) -> ClipBatch:
    arrays, image = golden.arrays, golden.meta["image"]
    frames = image["frames"]
    lidar2img = torch.from_numpy(arrays["lidar2img"])
    return ClipBatch(
        img=torch.from_numpy(clip_images(image)),
        img_shape=tuple(image["img_shape"]),
        lidar2img=lidar2img.expand(1, frames, *lidar2img.shape[-3:]),
        l2g=torch.from_numpy(arrays["l2g"])[None],
        timestamp=torch.from_numpy(arrays["timestamp"])[None],
        targets=[[read_targets(arrays, f"in.f{t}") for t in range(frames)]],
    )


@contextmanager
def _recorded_matches(
    criterion: Any,
) -> Iterator[list[tuple[TrackInstances, TrackInstances, int]]]:
    """(instances before matching, after it, number of ground truths) of every frame."""
    frames: list[tuple[TrackInstances, TrackInstances, int]] = []
    match = criterion.match

    def recorded(logits: Any, codes: Any, instances: Any, targets: Any) -> Any:
        result = match(logits, codes, instances, targets)
        frames.append((instances[0], result[0][0], len(targets[0])))
        return result

    criterion.match = recorded
    try:
        yield frames
    finally:
        del criterion.match
