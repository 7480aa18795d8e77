"""Golden files h_run_: whole optimiser runs through the project's own Trainer.

Twelve steps with the learning rates, clipping and optimiser that a configuration states: what one
step (check_train.py) cannot see is how steps follow each other.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from laboratory.parity.compare import TOLERANCES, GoldenFile, Row
from laboratory.parity.inputs import clip_images, read_targets
from laboratory.parity.models import CONFIGS, training_without_chance
from laboratory.parity.weights import fill, named_generator
from pftrack.config import load_config
from pftrack.registry import build_model
from pftrack.structures import ClipBatch
from pftrack.training.distributed import World
from pftrack.training.logs import TrainLog
from pftrack.training.loop import Job, Trainer
from pftrack.training.mm_config import read_settings
from pftrack.training.settings import TrainSettings

# Iterations in which rounding has not yet grown beyond the tolerance (README of the golden files).
JUDGED_DETR3D = 4
# References were made with one or two threads, which add in other orders, and files do not say
# which: at the full rate the difference outgrows the tolerance within six steps.
THREADS = (2, 1)
JUDGED_FULL_RATE = {"detector": 8, "tracker": 2}  # lr_factor 1


def check(golden: GoldenFile) -> Iterator[Row]:
    """Learning rates, losses and gradient norms of every step, the change of every parameter."""
    reference, meta = golden.arrays, golden.meta
    run = _closest_run(golden)
    yield Row("lr", np.array(run.rates), reference["lr"], "rates")
    keys = [str(key) for key in meta["loss_keys"]]
    yield Row("loss_keys", sorted(run.losses[0]), sorted(keys))
    if set(keys) <= set(run.losses[0]):
        ours = np.array([[step[key] for key in keys] for step in run.losses])
        judged = judged_iterations(golden)
        for i, (row, expected) in enumerate(zip(ours, reference["losses"], strict=True)):
            yield Row(f"losses.iteration{i}", row, expected, "network" if i < judged else "shown")
    yield Row("grad_norm", np.array(run.grad_norms), reference["grad_norm"], "shown")
    yield Row("parameters", sorted(run.changes), sorted(meta["parameters"]))
    if set(meta["parameters"]) <= set(run.changes):
        yield from _change_rows(run, golden)


def _closest_run(golden: GoldenFile) -> Recorder:
    """The run with the first of :data:`THREADS` that is within the tolerance, or the closest."""
    runs: list[tuple[float, Recorder]] = []
    before = torch.get_num_threads()
    try:
        for threads in THREADS:
            torch.set_num_threads(threads)
            with tempfile.TemporaryDirectory(prefix="pftrack_parity_") as folder:
                run = run_trajectory(golden, Path(folder))
            runs.append((_tolerances_apart(run, golden), run))
            if runs[-1][0] <= 1:
                break
    finally:
        torch.set_num_threads(before)
    return min(runs, key=lambda pair: pair[0])[1]


def _tolerances_apart(run: Recorder, golden: GoldenFile) -> float:
    """Largest error of the judged losses in units of the tolerance; infinite: other losses."""
    keys = [str(key) for key in golden.meta["loss_keys"]]
    if not set(keys) <= set(run.losses[0]):
        return math.inf
    judged = judged_iterations(golden)
    ours = np.array([[step[key] for key in keys] for step in run.losses[:judged]])
    reference = golden.arrays["losses"][:judged]
    absolute, relative = TOLERANCES["network"]
    return float((np.abs(ours - reference) / (absolute + relative * np.abs(reference))).max())


def judged_iterations(golden: GoldenFile) -> int:
    """How many of the run's first iterations rounding leaves comparable."""
    meta = golden.meta
    if meta["config"].startswith("detr3d"):
        return JUDGED_DETR3D
    if meta.get("lr_factor", 1) == 1:
        return JUDGED_FULL_RATE["detector" if meta["frames"] == 1 else "tracker"]
    return len(golden.arrays["losses"])


def _change_rows(run: Recorder, golden: GoldenFile) -> Iterator[Row]:
    names = golden.meta["parameters"]
    norms = np.array([run.changes[name].norm().item() for name in names])
    dots = np.array([_projection(name, run.changes[name]) for name in names])
    reference = golden.arrays["change_norm"]
    yield Row("change_norm", norms, reference, "shown")
    yield Row("change_dot", dots, golden.arrays["change_dot"], "shown")
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.where(norms == reference, 0, np.abs(norms - reference) / reference)
    judged = judged_iterations(golden) == len(golden.arrays["losses"])
    for percentile, kind in ((50, "change, median"), (90, "change, 90 %")):
        error = np.percentile(errors, percentile)
        row = f"change_norm.relative_error.p{percentile}"
        yield Row(row, error, np.float64(0), kind if judged else "shown")


def _projection(name: str, change: Tensor) -> float:
    direction = named_generator("dot/" + name).standard_normal(tuple(change.shape))
    return float((change.double().numpy() * direction).sum())


class Recorder(TrainLog):
    """What happened in every step; writes nothing.

    Attributes:
        losses, grad_norms: of each step.  rates: smallest and largest learning rate of each.
        changes: by parameter, its value after the last step minus the first.
        seconds: of each step.
    """

    def __init__(self) -> None:
        super().__init__(None, is_main=False)
        self.losses: list[dict[str, float]] = []
        self.grad_norms: list[float] = []
        self.rates: list[tuple[float, float]] = []
        self.changes: dict[str, Tensor] = {}
        self.seconds: list[float] = []
        self.optimizer: torch.optim.Optimizer | None = None

    def add(self, losses: dict[str, Tensor], data_time: float, step_time: float) -> None:
        self.seconds.append(step_time)
        values = {name: value.item() for name, value in losses.items()}
        self.grad_norms.append(values.pop("grad_norm"))
        values.pop("loss")
        self.losses.append(values)
        assert self.optimizer is not None
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.rates.append((min(rates), max(rates)))


class _Clips:
    """Clips one after the other, whatever index the sampler asks for."""

    def __init__(self, clips: list[ClipBatch]) -> None:
        self.clips = clips
        self.asked = 0

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, _index: int) -> ClipBatch:
        self.asked += 1
        return self.clips[(self.asked - 1) % len(self.clips)]


def run_trajectory(golden: GoldenFile, folder: Path, precision: str = "fp32") -> Recorder:
    """Train as an h_run_ file says.

    Args:
        folder: for the last checkpoint.  precision: of the network.
    """
    model, settings = _model_and_settings(golden.meta, precision)
    log = Recorder()
    float64 = golden.meta["float64"]
    if float64:
        model.double()
    with training_without_chance(model), _Float64() if float64 else nullcontext():
        clips = _Clips([_clip(golden, c) for c in range(golden.meta["iterations_per_epoch"])])
        job = Job(model, clips, lambda items: items[0], settings, folder)
        trainer = Trainer(job, World(0, 0, 1, torch.device("cpu")), log)
        log.optimizer = trainer.optimizer
        before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        trainer.run()
    parameters = dict(model.named_parameters())
    log.changes = {name: parameters[name].detach() - start for name, start in before.items()}
    return log


def _model_and_settings(meta: Mapping[str, Any], precision: str) -> tuple[nn.Module, TrainSettings]:
    """The configuration with the file's backbone and schedule, and the formula's weights."""
    cfg = load_config(f"{CONFIGS}/{meta['config']}.py")
    cfg.model.img_backbone.spec_name = meta["backbone"]
    cfg.model.img_neck.in_channels = meta["neck_in_channels"]
    cfg.optimizer = meta["optimizer"]
    cfg.lr_config = {"policy": meta["policy"], **meta["lr_config"]}
    cfg.optimizer_config.grad_clip = meta["grad_clip"]
    cfg.runner = {"type": "EpochBasedRunner", "max_epochs": meta["epochs"]}
    cfg.precision = precision
    cfg.data.workers_per_gpu = 0
    cfg.checkpoint_config = {"interval": meta["epochs"]}
    model = build_model(cfg.model)
    fill(model)
    return model, read_settings(cfg)


def _clip(golden: GoldenFile, number: int) -> ClipBatch:
    arrays, image = golden.arrays, golden.meta["image"]
    frames = image["frames"]
    lidar2img = torch.from_numpy(arrays["lidar2img"])
    images = clip_images({**image, "tag": image["tags"][number]})
    return ClipBatch(
        img=torch.from_numpy(images).float(),
        img_shape=tuple(image["img_shape"]),
        lidar2img=lidar2img.expand(1, frames, *lidar2img.shape[-3:]),
        l2g=torch.from_numpy(arrays[f"clip{number}.l2g"]).float()[None],
        timestamp=torch.from_numpy(arrays[f"clip{number}.timestamp"])[None],
        targets=[[read_targets(arrays, f"clip{number}.t{t}") for t in range(frames)]],
    )


class _Float64(TorchFunctionMode):
    """Every float32 that the code asks for by name is float64."""

    def __enter__(self) -> _Float64:
        self._before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.set_default_dtype(self._before)

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        def wider(value: Any) -> Any:
            return torch.float64 if value is torch.float32 else value

        if function is Tensor.float:
            function = Tensor.double
        kwargs = {name: wider(value) for name, value in (kwargs or {}).items()}
        return function(*(wider(value) for value in args), **kwargs)
