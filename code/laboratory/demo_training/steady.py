"""Train a tracker's heads a little further, so that small differences between tracks die out.

python -m laboratory.demo_training.steady OUT [--scenes 64] [--steps 40] ...

A track follows its own last place, so what differs by rounding between two processors grows where
a shifted track is refined to a place that is shifted by more. Here every clip is there twice, and
in the second copy tracks lie up to 20 cm elsewhere; beside the losses, what counts is by how much
these distances grow from frame to frame. The backbone stays as it is. The result is a mean of the
weights before and of those trained (as Wortsman et al., "Robust fine-tuning of zero-shot models",
CVPR 2022, which keeps what a short training would forget).
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from laboratory.demo_training.batched import BatchedLosses, Clips, Hardships, Tracks
from laboratory.demo_training.train import CONFIGS, SHIPPED, VISIBILITY, Log, scratch_folder
from pftrack.geometry import denormalize_points, normalize_points

SHIFTS = (0.01, 0.2)  # m, of a track in the second copy
NEAREST, FARTHEST = 0.003, 0.5  # m: beyond these a copy begins anew, shifted
WANTED = 0.7  # factor of a distance from frame to frame that is not penalised
DECAY = 0.96  # of the running mean of the weights, a step
WARM_UP = 20  # steps


class Twins(BatchedLosses):
    """Losses of clips whose second half repeats the first, and how distances between tracks of the
    same object grow.

    Attributes:
        growth: [N] logarithms of the factors, of the latest clips.
    """

    def __init__(self, model: Any, seed: int, hardships: Hardships | None = None) -> None:
        super().__init__(model, None, hardships)
        self.shifts = torch.Generator().manual_seed(seed)
        self.growth = torch.zeros(0)
        self._before: dict[tuple[int, int], float] = {}

    def of_features(self, feats: list[Tensor], clips: Clips) -> dict[str, Tensor]:
        self.growth, self._before = self.growth.new_zeros(0), {}
        return super().of_features(feats, clips)

    def after_frame(self, tracks: Tracks) -> None:
        """Measure the pairs of tracks; copies too near to their twins, or too far, begin anew."""
        half = len(tracks.ids) // 2
        pairs = [_common(tracks.ids[b], tracks.ids[half + b]) for b in range(half)]
        clip = np.repeat(np.arange(half), [len(p) for p in pairs])
        first, second = np.concatenate(pairs).T
        pc_range = self.model.pc_range
        points = denormalize_points(tracks.points, pc_range)
        here, there = points[clip, first], points[half + clip, second]
        distance = (here - there)[:, :2].norm(dim=-1)
        keys = [(int(b), int(tracks.ids[b][i])) for b, i in zip(clip, first, strict=True)]
        known = [n for n, key in enumerate(keys) if key in self._before]
        before = distance.new_tensor([self._before[keys[n]] for n in known])
        self.growth = torch.cat([self.growth, _log(distance[known]) - _log(before)])
        anew = (distance.detach() < NEAREST) | (distance.detach() > FARTHEST)
        length, shift = self._shifts(len(keys))
        distance = torch.where(anew, length, distance.detach())
        points = points.clone()
        points[half + clip, second] = torch.where(anew[:, None], here + shift, there)
        tracks.points = normalize_points(points, pc_range)
        fresh = anew.cpu().numpy()
        to, source = (half + clip[fresh], second[fresh]), (clip[fresh], first[fresh])
        for name in ("feats", "history", "unseen"):
            values = getattr(tracks, name)
            copied = values.clone()
            copied[to] = values[source]
            setattr(tracks, name, copied)
        self._before = dict(zip(keys, distance.tolist(), strict=True))

    def _shifts(self, count: int) -> tuple[Tensor, Tensor]:
        """Lengths [n] and vectors [n, 3] m, all directions of the ground alike."""
        low, high = (math.log(v) for v in SHIFTS)
        draw = torch.rand(2, count, generator=self.shifts)
        length = (low + (high - low) * draw[0]).exp()
        angle = 2 * math.pi * draw[1]
        vectors = torch.stack([angle.cos(), angle.sin(), torch.zeros(count)], -1)
        return length, length[:, None] * vectors


def penalty(growth: Tensor) -> Tensor:
    """Mean square of what distances grow by beyond :data:`WANTED`."""
    if not len(growth):
        return growth.sum()
    return F.relu(growth - math.log(WANTED)).square().mean()


def twice(clips: Clips) -> Clips:
    """The clips and the same again; images, which features stand for, are left out."""
    fields = {
        name: torch.cat([value, value], 1)
        for name, value in vars(clips).items()
        if isinstance(value, Tensor) and name != "img"
    }
    empty = clips.img.new_empty(
        *clips.img.shape[:1], 2 * clips.img.shape[1], 0, *clips.img.shape[3:]
    )
    return replace(clips, img=empty, ids=np.concatenate([clips.ids] * 2, 1), **fields)


def steady(
    model: Any,
    pool: Any,
    steps: int,
    shape: tuple[int, int],
    rate: float,
    weight: float,
    seed: int,
    log: Any,
) -> dict[str, Tensor]:
    """Train ``model`` but for its backbone and neck; the running mean of its weights.

    Args:
        pool: draws clips (:class:`pool.ScenePool`).  shape: (clips, frames) of a step.
        weight: of the :func:`penalty`, a frame.
    """
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    frozen = [model.img_backbone, model.img_neck]
    for part in frozen:
        part.requires_grad_(False)
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    mean.update_parameters(model)  # the first only copies
    hardships = Hardships(forecast_corrects=True, forecast_near=0.5, forecast_reaches_features=True)
    losses_of = Twins(model, seed, hardships)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    model.train()
    for part in frozen:
        part.eval()
    begun = time.monotonic()
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, step / WARM_UP)
        clips = pool.draw(*shape)
        with torch.no_grad():
            feats = [level.repeat(1, 2, 1, 1, 1, 1) for level in losses_of.features(clips)]
        losses = losses_of.of_features(feats, twice(clips))
        loss = torch.stack(list(losses.values())).sum()
        total = loss + weight * shape[1] * penalty(losses_of.growth)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 35.0)
        optimizer.step()
        mean.update_parameters(model)
        if step % 10 == 0 or step == steps:
            growth = losses_of.growth.detach().exp()
            left = (time.monotonic() - begun) / step * (steps - step)
            log(
                f"step {step} of {steps}, {left:.0f} s left: a frame's loss "
                f"{float(loss.detach()) / shape[1]:.3f}, distances grow by {growth.median():.2f}, "
                f"a tenth by more than {growth.quantile(0.9):.2f}"
            )
    return {k: v.detach() for k, v in mean.module.state_dict().items()}


def between(before: dict[str, Tensor], after: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights ``share`` of the way from ``before`` to ``after``; counters as they are before."""
    return {
        k: torch.lerp(v, after[k].to(v), share) if v.is_floating_point() else v
        for k, v in before.items()
    }


def _common(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """[n, 2] positions of the ids of objects that are in both."""
    return np.argwhere((ours[:, None] == theirs) & (ours[:, None] >= 0))


def _log(distance: Tensor) -> Tensor:
    return (distance + 1e-5).log()


def parse_arguments() -> argparse.Namespace:
    from pftrack.arguments import Parser

    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for steady.txt and f3_demo.pth")
    parser.add_argument("--scenes", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--clips", type=int, default=8, help="of a step")
    parser.add_argument("--frames", type=int, default=6, help="of a clip")
    parser.add_argument("--rate", type=float, default=6e-5, help="learning rate")
    parser.add_argument("--weight", type=float, default=40.0, help="of growing distances")
    parser.add_argument("--share", type=float, default=0.5, help="of the new weights in the mean")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=90_000)
    return parser.parse_args()


def main() -> None:
    from laboratory.demo_training.pool import ScenePool
    from laboratory.demo_training.scenes import start_workers
    from pftrack.checkpoints.reading import load_checkpoint_file, load_into
    from pftrack.config import load_config
    from pftrack.registry import build_model
    from pftrack.training.checkpoint import save_atomically

    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    log = Log(args.out / "steady.txt", time.monotonic())
    torch.manual_seed(args.seed)
    path = SHIPPED / "f3_demo.pth"
    config = CONFIGS / "f8_demo.py"
    model = build_model(load_config(config, []).model)
    log(load_into(model, str(path)).summary())
    with scratch_folder() as folder:
        workers = start_workers(folder, config, args.workers, args.seed, VISIBILITY)
        pool = ScenePool(folder, args.scenes, torch.device("cpu"), args.seed)
        while pool.scenes < args.scenes and pool.error is None:
            if not any(worker.is_alive() for worker in workers):
                raise RuntimeError("every process that renders has ended: see what they said above")
            time.sleep(0.5)
        for worker in workers:
            worker.kill()
        pool.close()
    log(f"{pool.scenes} scenes")
    checkpoint = load_checkpoint_file(path)
    before = checkpoint["state_dict"]
    shape = (args.clips, args.frames)
    after = steady(model, pool, args.steps, shape, args.rate, args.weight, args.seed, log)
    settings = {name: value for name, value in vars(args).items() if name != "out"}
    meta = {**checkpoint["meta"], "steady": settings}
    weights = between(before, after, args.share)
    save_atomically({"meta": meta, "state_dict": weights}, args.out / path.name)
    log(f"saved {path.name}")


if __name__ == "__main__":
    main()
