"""Train the demo tracker's forecaster alone, on what the tracker remembers of scenes it tracks.

python -m laboratory.demo_training.forecaster DATA_ROOT OUT [--steps N] [--workers N]

Every scene of a generated dataset is tracked once, and once mirrored; the histories of the tracks
are kept (:class:`Samples`), and the forecaster is trained on them for minutes, without a backbone:
where will the object be, seen from where the tracker has it? All other weights stay.

Futures scatter, and a transformer learns slowly from such targets. So a plain network, thrown away
afterwards, learns them first, and the forecaster learns from what that one expects (Hinton et al.,
"Distilling the knowledge in a neural network", 2015). The first step stays what it was: by it
tracks move into the next frame, where the tracker has learned to expect them.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from laboratory.demo_training.train import CONFIGS, SHIPPED
from pftrack.processes import end_with_parent
from pftrack.structures import CLASSES, TRACKING_CLASSES, FrameBatch, FrameTargets

CONFIG = CONFIGS / "f3_demo.py"
MATCHED = 2.0  # m, as nuScenes' tracking metric pairs boxes
FUTURE = 8  # steps
FORECASTERS = ("STReasoner.fut_temporal_transformer.", "STReasoner.future_reg.")
STEP = 0.5  # s
SMOOTH = 0.1  # m, below which the loss is no longer a distance
CLIP = 5.0  # norm of the gradient
# Of a class with a share p of the samples, the weight is p to the power of minus this.
BALANCE = 0.5
NOISE = 0.3  # largest share of the histories' deviation that is added to what the teacher tells
WIDTH = 512  # of the teacher


@dataclass(frozen=True)
class Schedule:
    """How a network is trained: steps of ``batch`` samples at a peak rate, AdamW's weight decay."""

    steps: int
    batch: int
    rate: float
    decay: float


TEACHER = Schedule(steps=3000, batch=1024, rate=1e-3, decay=0.05)
FORECASTER = Schedule(steps=15000, batch=256, rate=1.5e-3, decay=0.01)


@dataclass
class Samples:
    """N tracked boxes that were seen in their frame and have an object.

    Attributes:
        history: [N, H, D] features.  unseen: [N, H] bool, True = empty.
        place: [N, 2] m, where the tracker has it, lidar frame.  label: [N] int64.
        velocity: [N, 2] m/s, the tracker's.
        future: [N, F, 2] m, where the object will be, in the same frame.
        known: [N, F] bool: annotated up to this step.
    """

    history: Tensor
    unseen: Tensor
    place: Tensor
    label: Tensor
    velocity: Tensor
    future: Tensor
    known: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, rows: Tensor) -> Samples:
        return Samples(**{name: value[rows] for name, value in vars(self).items()})

    @classmethod
    def cat(cls, parts: Iterable[Samples]) -> Samples:
        """All samples of ``parts``, in order."""
        parts = list(parts)
        names = [field.name for field in fields(cls)]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


# --- recording ------------------------------------------------------------------------------------


def mirrored_frame(frame: FrameBatch) -> FrameBatch:
    """The frame as it would be in a world whose left is right: lidar x is -x.

    Args:
        frame: whose images have no padding on the right.
    """
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    width = frame.img_shape[1]
    if width != frame.img.shape[-1]:
        raise ValueError(f"images of {width} pixels are padded to {frame.img.shape[-1]}")
    pixels = torch.eye(4, dtype=torch.float64)
    pixels[0, 0], pixels[0, 2] = -1, width
    return replace(
        frame,
        img=frame.img.flip(-1),
        lidar2img=(pixels @ frame.lidar2img.double() @ mirror).to(frame.lidar2img.dtype),
        l2g=(mirror @ frame.l2g.double() @ mirror).to(frame.l2g.dtype),
    )


def mirrored_targets(targets: FrameTargets) -> FrameTargets:
    """Centres and futures in the mirrored world; boxes are left as they are."""
    locs = targets.forecasting_locs.clone()
    locs[..., 0] *= -1
    return replace(targets, forecasting_locs=locs)


def match(place: Tensor, label: Tensor, targets: FrameTargets) -> tuple[Tensor, Tensor]:
    """Rows of boxes and of objects that belong together: same class, nearest first, each once.

    Args:
        place: [n, 2] m.  label: [n].
    """
    apart = torch.cdist(place.double(), targets.forecasting_locs[:, 0, :2].double())
    apart = apart.masked_fill(label[:, None] != targets.labels, torch.inf)
    pairs = []
    while apart.numel() and apart.min() < MATCHED:
        row, column = divmod(int(apart.argmin()), apart.shape[1])
        pairs.append((row, column))
        apart[row], apart[:, column] = torch.inf, torch.inf
    rows, columns = torch.tensor(pairs, dtype=torch.long).view(-1, 2).unbind(1)
    return rows, columns


class Recorder:
    """A tracker that says what it remembers of a scene."""

    def __init__(self, checkpoint: str, data_root: str, infos: str) -> None:
        from pftrack.tracking.api import load_tracker
        from pftrack.tracking.job import InferenceJob, build_split

        overrides = (f"data.val.data_root={data_root}/", f"data.val.ann_file={infos}")
        self.dataset = build_split(InferenceJob(str(CONFIG), checkpoint, overrides=overrides))
        self.tracker = load_tracker(CONFIG, checkpoint)
        self.model = self.tracker.model
        self._reason = self.model.reason
        self.model.reason = self._remember  # type: ignore[method-assign]

    def _remember(self, *args: Any, **options: Any) -> Any:
        self.instances = self._reason(*args, **options)
        return self.instances

    def scene(self, name: str, mirrored: bool) -> list[Samples]:
        """What is remembered, frame by frame."""
        from pftrack.datasets.targets import frame_targets

        found: list[Samples] = []
        outputs: list[Any] = []
        self.tracker.reset()
        for index in self.dataset.scenes[name]:
            frame = self.dataset.frame(index)
            targets = frame_targets(self.dataset.infos[index], CLASSES, None)
            batch = self.tracker.batch(frame)
            if mirrored:
                batch, targets = mirrored_frame(batch), mirrored_targets(targets)
            self.tracker.step_batch(frame, batch, lambda output, _: outputs.append(output))
            found.append(self._samples(outputs.pop(), targets))
        return found

    def _samples(self, output: Any, targets: FrameTargets) -> Samples:
        instances, limit = self.instances, self.tracker.thresholds.record_threshold
        seen = instances.cache.scores[output.rows] >= limit
        boxes, labels = output.boxes[seen], output.labels[seen]
        rows, objects = match(boxes[:, :2], labels, targets)
        source = output.rows[seen][rows]
        return Samples(
            history=instances.hist_embeds[source].clone(),
            unseen=instances.hist_padding_masks[source].clone(),
            place=boxes[rows, :2],
            label=labels[rows],
            velocity=boxes[rows, 7:9],
            future=targets.forecasting_locs[objects, 1 : FUTURE + 1, :2],
            known=targets.forecasting_masks[objects, 1 : FUTURE + 1].cummin(1).values,
        )


_recorders: dict[str, Recorder] = {}


def _begin_worker() -> None:
    end_with_parent()
    torch.set_num_threads(1)


def _record(task: tuple[str, str, str, str, bool]) -> Samples:
    checkpoint, data_root, infos, scene, mirrored = task
    if infos not in _recorders:
        _recorders[infos] = Recorder(checkpoint, data_root, infos)
    return Samples.cat(_recorders[infos].scene(scene, mirrored))


def record(checkpoint: str, data_root: str, split: str, mirrored: bool, workers: int) -> Samples:
    """What the tracker remembers of every scene of a split."""
    infos = f"{data_root}/tracking_forecasting_infos_{split}.pkl"
    scenes = Recorder(checkpoint, data_root, infos).dataset.scenes
    tasks = [(checkpoint, data_root, infos, scene, mirrored) for scene in scenes]
    name = f"tracking {split}{', mirrored' if mirrored else ''}"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin_worker) as pool:
        return Samples.cat(tqdm(pool.map(_record, tasks), name, len(tasks), unit="scene"))


# --- training ---------------------------------------------------------------------------------


class Teacher(nn.Module):
    """Histories and the tracker's velocities [N, 2] to displacements [N, F, 2] from its places."""

    def __init__(self, samples: Samples) -> None:
        super().__init__()
        self.mean = samples.history.mean((0, 1))
        self.deviation = samples.history.std((0, 1))
        length, dims = samples.history.shape[1:]
        sizes = (length * (dims + 1) + 2, WIDTH, WIDTH)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.GELU(), nn.Dropout(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(WIDTH, 2 * FUTURE))

    def forward(self, samples: Samples) -> Tensor:
        """[N, F, 2] m: the velocity kept, and what is to be added."""
        seen = (samples.history - self.mean) / self.deviation * ~samples.unseen[..., None]
        facts = torch.cat([seen.flatten(1), samples.unseen.float(), samples.velocity / 3], 1)
        change = self.layers(facts).view(-1, FUTURE, 2)
        return (samples.velocity[:, None] + change) * STEP * torch.arange(1, FUTURE + 1)[:, None]


def forecast(reasoner: Any, samples: Samples) -> Tensor:
    """[N, F, 2] m, displacements from the present place that the forecaster expects."""
    features = reasoner._attend_from_future(samples.history, samples.unseen)
    return reasoner.future_reg(features).float()[..., :2].cumsum(1)


def constant_velocity(samples: Samples) -> Tensor:
    """[N, F, 2] m, displacements by the tracker's own velocities."""
    return samples.velocity[:, None] * STEP * torch.arange(1, FUTURE + 1)[:, None]


def errors(samples: Samples, displacements: Tensor) -> list[float]:
    """Mean distance up to 1, 2, 3 and 4 s, averaged over classes, m."""
    apart = (samples.place[:, None] + displacements - samples.future).norm(dim=-1)
    table = []
    for steps in (2, 4, 6, 8):
        known = samples.known[:, steps - 1]
        classes = samples.label[known].unique().tolist()
        means = [apart[known & (samples.label == label), :steps].mean() for label in classes]
        table.append(float(torch.stack(means).mean()))
    return table


def train_teacher(samples: Samples, schedule: Schedule, seed: int) -> Teacher:
    """A network that knows where the objects of ``samples`` go."""
    torch.manual_seed(seed)
    teacher = Teacher(samples)

    def apart(part: Samples, _generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return part.place[:, None] + teacher(part) - part.future, part.known

    _train(teacher, samples, schedule, seed, apart, "teacher")
    return teacher.eval()


def train_forecaster(
    reasoner: Any, before: Any, teacher: Teacher, samples: Samples, schedule: Schedule, seed: int
) -> None:
    """Train ``fut_temporal_transformer`` and ``future_reg`` from their present weights.

    Args:
        before: the reasoner whose first step is kept.
    """
    parts = nn.ModuleList([reasoner.fut_temporal_transformer, reasoner.future_reg])

    def apart(part: Samples, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        share = NOISE * torch.rand(len(part), 1, 1, generator=generator)
        noise = torch.randn(part.history.shape, generator=generator) * teacher.deviation * share
        part = replace(part, history=part.history + noise)
        with torch.no_grad():
            expected = torch.cat([forecast(before, part)[:, :1], teacher(part)[:, 1:]], dim=1)
        with torch.autocast("cpu", torch.bfloat16):
            found = forecast(reasoner, part)
        return found - expected, torch.ones_like(part.known)

    _train(parts, samples, schedule, seed, apart, "forecaster")


def _train(
    network: nn.Module,
    samples: Samples,
    schedule: Schedule,
    seed: int,
    apart: Callable[[Samples, torch.Generator], tuple[Tensor, Tensor]],
    name: str,
) -> None:
    """Minimise the mean distance, by classes of like weight.

    Args:
        apart: of a batch, [n, F, 2] m from where it should be, and which steps [n, F] count.
    """
    network.train()
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=schedule.rate, weight_decay=schedule.decay)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_rate, schedule.steps))
    counts = torch.bincount(samples.label, minlength=len(TRACKING_CLASSES)).clamp(min=1)
    weights = (len(samples) / counts / len(counts)) ** BALANCE
    generator = torch.Generator().manual_seed(seed)
    for _ in tqdm(range(schedule.steps), name, unit="step"):
        part = samples[torch.randint(len(samples), (schedule.batch,), generator=generator)]
        error, counted = apart(part, generator)
        distance = (error.square().sum(-1) + SMOOTH**2).sqrt() * counted
        each = distance.sum(1) / counted.sum(1).clamp(min=1)
        optimizer.zero_grad()
        (each * weights[part.label]).mean().backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        rate.step()
    network.eval()


def _rate(steps: int, step: int) -> float:
    """Factor on the peak rate: linear rise, cosine fall."""
    return min(1.0, (step + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def main() -> None:
    from pftrack.arguments import Parser
    from pftrack.checkpoints.reading import load_checkpoint_file
    from pftrack.config import load_config
    from pftrack.registry import build_model
    from pftrack.tracking.api import load_tracker
    from pftrack.training.checkpoint import save_atomically
    from pftrack.training.record import run_record

    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("data_root", help="of a generated dataset with its info files")
    parser.add_argument("out", type=Path, help="the tracker's file to write")
    parser.add_argument("--checkpoint", default=str(SHIPPED / "f3_demo.pth"))
    parser.add_argument("--steps", type=int, default=FORECASTER.steps)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    seen, mirrored, unseen = (
        record(args.checkpoint, args.data_root, *part, args.workers)
        for part in (("train", False), ("train", True), ("val", False))
    )
    print(f"{len(seen)} tracked boxes, {len(mirrored)} of the mirrored scenes")

    content = load_checkpoint_file(args.checkpoint)
    torch.manual_seed(args.seed)
    model = build_model(load_config(CONFIG).model)  # its forecaster is a new one
    kept = {k: v for k, v in content["state_dict"].items() if not k.startswith(FORECASTERS)}
    model.load_state_dict(kept, strict=False)
    teacher = train_teacher(Samples.cat([seen, mirrored]), TEACHER, args.seed)
    schedule = replace(FORECASTER, steps=args.steps)
    before = load_tracker(CONFIG, args.checkpoint).model.STReasoner
    train_forecaster(model.STReasoner, before, teacher, seen, schedule, args.seed)
    with torch.no_grad():
        print("m on scenes that were not trained on, up to 1, 2, 3, 4 s:")
        for name, displacements in (
            ("constant velocity", constant_velocity(unseen)),
            ("teacher", teacher(unseen)),
            ("forecaster", forecast(model.STReasoner, unseen)),
        ):
            print(f"{name:20}", *(f"{value:.3f}" for value in errors(unseen, displacements)))
    record_of_run = run_record(CONFIG, args.seed, torch.device("cpu"), 1)
    meta = {**content["meta"], "config": load_config(CONFIG).pretty_text, "record": record_of_run}
    save_atomically({"meta": meta, "state_dict": model.state_dict()}, args.out)


if __name__ == "__main__":
    main()
