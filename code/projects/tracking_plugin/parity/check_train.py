"""Golden files c_: losses, matching and gradient norms of one training clip."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from projects.tracking_plugin.models.trackers.track_instances import TrackInstances
from projects.tracking_plugin.parity.check_network import NOISE_MARGIN
from projects.tracking_plugin.parity.compare import GoldenFile, Row
from projects.tracking_plugin.parity.inputs import clip_images
from projects.tracking_plugin.parity.models import reference_model
from projects.tracking_plugin.parity.noise import disturbed, noise_generators, replaced
from projects.tracking_plugin.structures import ClipBatch, FrameTargets

# A gradient below this share of the largest one is what float32 leaves of an exact zero, for
# example of a bias that is added to all keys of a softmax.
VANISHING = float(np.finfo(np.float32).eps)


def check(golden: GoldenFile) -> Iterator[Row]:
    """The loss dict, matches and queries of every frame, the gradient norm of every parameter."""
    model, batch = reference_model(golden), _clip(golden)
    with _training_without_chance(model):
        with _recorded_matches(model.criterion) as frames:
            losses, gradients = _iteration(model, batch)
        noise = _rounding_noise(model, batch, gradients)
    reference = golden.arrays
    names = [str(name) for name in reference["loss_keys"]]
    yield Row("loss_keys", sorted(losses), sorted(names))
    if set(names) <= set(losses):
        values = np.array([losses[name] for name in names])
        allowed = np.array([noise.losses.get(name, 0.0) for name in names])
        yield Row("loss_values", values, reference["loss_values"], noise=allowed)
    total = np.float64(sum(value for name, value in losses.items() if "loss" in name))
    yield Row("total", total, reference["total"], noise=sum(noise.losses.values()))
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
    yield from _gradient_rows(gradients, noise.gradients, golden)


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


@dataclass
class _Noise:
    """How far rounding moves each loss and each gradient norm, with a margin."""

    losses: dict[str, float]
    gradients: dict[str, float]


def _rounding_noise(model: Any, batch: ClipBatch, gradients: dict[str, float | None]) -> _Noise:
    """Disturbed runs of everything after the image branch.

    The gradients of the image branch are linear in that of the feature maps, so they are allowed
    the relative change of the latter.
    """
    noise = _Noise({}, {})
    generators = noise_generators(model)
    if not generators:
        return noise
    with torch.no_grad():
        feats = model.extract_clip_feats(batch)
    losses, norms, maps = _head_iteration(model, batch, feats, None)
    size = torch.stack([m.norm() for m in maps]).norm()
    for generator in generators:
        other, other_norms, other_maps = _head_iteration(model, batch, feats, generator)
        change = [(a - b).norm() for a, b in zip(maps, other_maps, strict=True)]
        relative = float(torch.stack(change).norm() / size)
        for name in losses:
            _raise(noise.losses, name, abs(other[name] - losses[name]))
        for name, norm in gradients.items():
            own, others = norms[name], other_norms[name]
            if own is not None and others is not None:
                _raise(noise.gradients, name, abs(others - own))
            elif norm is not None:
                _raise(noise.gradients, name, relative * norm)
    return noise


def _raise(noise: dict[str, float], name: str, change: float) -> None:
    noise[name] = max(noise.get(name, 0.0), NOISE_MARGIN * change)


def _head_iteration(
    model: Any, batch: ClipBatch, feats: list[torch.Tensor], generator: torch.Generator | None
) -> tuple[dict[str, float], dict[str, float | None], list[torch.Tensor]]:
    """An iteration on given feature maps: losses, gradient norms, the maps' gradients."""
    leaves = [f.clone().requires_grad_() for f in feats]
    with replaced(model, "extract_clip_feats", lambda _: leaves), disturbed(model, generator):
        losses, norms = _iteration(model, batch)
    return losses, norms, [leaf.grad for leaf in leaves if leaf.grad is not None]


def _gradient_rows(
    gradients: dict[str, float | None], noise: dict[str, float], golden: GoldenFile
) -> Iterator[Row]:
    names = [str(name) for name in golden.arrays["grad_names"]]
    norms = golden.arrays["grad_norms"]
    without = [name for name, norm in gradients.items() if norm is None]
    yield Row("params_without_grad", sorted(without), sorted(golden.meta["params_without_grad"]))
    ours = np.array([gradients.get(name) or 0.0 for name in names])
    floor = VANISHING * norms.max()
    vanishing = norms < floor
    allowed = np.array([noise.get(name, 0.0) for name in names])[~vanishing]
    yield Row("grad_norms", ours[~vanishing], norms[~vanishing], "gradient", allowed)
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
        targets=[[_targets(golden, f"in.f{t}") for t in range(frames)]],
    )


def _targets(golden: GoldenFile, prefix: str) -> FrameTargets:
    def read(name: str) -> torch.Tensor:
        return torch.from_numpy(golden.arrays[f"{prefix}.{name}"])

    return FrameTargets(
        boxes=read("gt_boxes").float(),
        labels=read("gt_labels"),
        instance_inds=read("instance_inds"),
        forecasting_locs=read("gt_forecasting_locs"),
        forecasting_masks=read("gt_forecasting_masks"),
    )


@contextmanager
def _training_without_chance(model: Any) -> Iterator[None]:
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
