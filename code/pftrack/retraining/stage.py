"""One stage of a retraining, as far as it can be told before it runs: size, hours, disk, status."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pftrack.config import configuration_name, find_config, load_config
from pftrack.datasets.infos import load_infos
from pftrack.devices import find_gpus
from pftrack.errors import UserError
from pftrack.nuscenes.versions import SPLITS
from pftrack.retraining.evaluation import Evaluation
from pftrack.retraining.history import read_runs, step_seconds
from pftrack.retraining.record import Stage
from pftrack.training.checkpoint import SNAPSHOTS_KEPT, find_latest
from pftrack.training.mm_config import read_settings
from pftrack.training.record import device_name
from pftrack.training.sampler import ResumableSampler
from pftrack.training.settings import OptimizerSettings, TrainSettings

NUSCENES_CLIPS = 28_130  # key frames of nuScenes' 700 training scenes, each the end of one clip
STEP_TIME_FILE = "step_time.json"  # in a stage's folder: what --measure found


@dataclass(frozen=True)
class Machine:
    """What trains: ``gpus`` processes (0: one on the CPU) on ``device`` (auto, cpu or cuda)."""

    gpus: int
    device: str

    @property
    def processes(self) -> int:
        return max(self.gpus, 1)

    @property
    def is_cpu(self) -> bool:
        return self.gpus == 0 or self.device == "cpu"

    @property
    def name(self) -> str | None:
        """As in the logs, without the number of threads; None without the GPU that is asked for."""
        usable = () if self.is_cpu else find_gpus().usable
        if not self.is_cpu and not usable:
            return None
        device = torch.device("cpu") if self.is_cpu else torch.device("cuda", usable[0])
        return device_name(device).split(",")[0]


@dataclass(frozen=True)
class Progress:
    """How far a training is: its newest checkpoint, epochs done, whether that is all."""

    checkpoint: Path | None = None
    epochs: float = 0.0
    finished: bool = False


class StagePlan:
    """One stage, as far as it can be told before it runs.

    Args:
        folder: of the stage.  overrides: ``a.b=c`` changes of the configuration.
    """

    def __init__(
        self, stage: Stage, folder: Path, machine: Machine, overrides: tuple[str, ...]
    ) -> None:
        self.stage, self.folder, self.machine, self.overrides = stage, folder, machine, overrides
        self.config = find_config(stage.config)
        self.cfg: Any = load_config(self.config, overrides)
        self.settings: TrainSettings = read_settings(self.cfg)
        self.progress = read_progress(folder, self.config, self.settings)

    # ------------------------------------------------------------------ iterations

    def _data(self, split: str, key: str) -> Path:
        return Path(str(((self.cfg.get("data") or {}).get(split) or {}).get(key)))

    @property
    def train_infos(self) -> Path:
        return self._data("train", "ann_file")

    @property
    def clips(self) -> int:
        """Of one epoch: those of the info file, without one nuScenes'."""
        return count_clips(self.train_infos) if self.train_infos.is_file() else NUSCENES_CLIPS

    @property
    def clips_per_step(self) -> int:
        return self.settings.samples_per_gpu * self.machine.processes

    @property
    def iters_per_epoch(self) -> int:
        per_process = self.settings.samples_per_gpu
        sampler = ResumableSampler(self.clips, per_process, 0, 0, self.machine.processes)
        return sampler.batches_per_epoch

    @property
    def total_iters(self) -> int:
        total = self.settings.max_epochs * self.iters_per_epoch
        return min(total, self.settings.max_iters or total)

    # ------------------------------------------------------------------ hours

    @property
    def step_time(self) -> tuple[float, str] | None:
        """(seconds of a step, "log", "measured" or "estimate"); None: nothing is known."""
        name = self.machine.name
        if name is not None:
            seconds = step_seconds(read_runs(self.folder), name, self.machine.processes)
            if seconds is not None:
                return seconds, "log"
            measured = read_measured(self.folder / STEP_TIME_FILE)
            if measured and measured[1:] == [name, self.machine.processes, self.clips_per_step]:
                return measured[0], "measured"
        known = self.stage.step_time
        if known is not None and known.on_cpu == self.machine.is_cpu:
            return known.seconds * self.settings.samples_per_gpu, "estimate"
        return None

    @property
    def is_estimate(self) -> bool:
        """True where the step time is the record's."""
        return self.step_time is not None and self.step_time[1] == "estimate"

    @property
    def hours(self) -> float | None:
        return None if self.step_time is None else self.total_iters * self.step_time[0] / 3600

    @property
    def hours_to_go(self) -> float | None:
        if self.progress.finished:
            return 0.0
        return None if self.hours is None else self.hours * (1 - self.share_done)

    @property
    def share_done(self) -> float:
        """Of the training, 0 to 1."""
        return min(1.0, self.progress.epochs * self.iters_per_epoch / self.total_iters)

    # ------------------------------------------------------------------ disk

    @cached_property
    def checkpoint_bytes(self) -> int:
        return checkpoint_bytes(self.cfg.model, self.settings.optimizer)

    @property
    def disk_bytes(self) -> int:
        """Of all checkpoints that are kept."""
        keep = self.settings.checkpoint.max_keep_ckpts
        epochs = self.settings.max_epochs
        return self.checkpoint_bytes * (min(epochs, keep) if keep > 0 else epochs)

    @property
    def bytes_to_write(self) -> int:
        """Room that is still needed, with the snapshots and the file that is being written."""
        if self.progress.finished:
            return 0
        present = sum(path.stat().st_size for path in self.folder.glob("*_*.pth"))
        return max(0, self.disk_bytes + (SNAPSHOTS_KEPT + 1) * self.checkpoint_bytes - present)

    # ------------------------------------------------------------------ data

    def missing_data(self) -> str | None:
        """What training and evaluation need and is not there; None: all is there."""
        if not self.progress.finished and not self.train_infos.is_file():
            return f"no info file {self.train_infos}"
        if not self.to_evaluate():
            return None
        if not self._data("val", "ann_file").is_file():
            return f"no info file {self._data('val', 'ann_file')}"
        root = self._data("val", "data_root")
        if not any((root / version).is_dir() for version in SPLITS):
            return f"no nuScenes tables in {root}"
        return None

    def evaluation(self, task: str) -> Evaluation:
        """Of the newest checkpoint; ``task`` is one of the record's ``evaluate``."""
        assert self.progress.checkpoint is not None
        return Evaluation(
            task, self.config, self.progress.checkpoint, self.folder / task, self.overrides
        )

    def to_evaluate(self) -> list[str]:
        """The evaluations that have not been made."""
        tasks = list(self.stage.evaluate)
        if not self.progress.finished:
            return tasks
        return [task for task in tasks if not self.evaluation(task).is_done()]

    @property
    def status(self) -> str:
        if self.progress.finished:
            return "finished, to evaluate" if self.to_evaluate() else "finished"
        if self.progress.checkpoint is None:
            return "not begun"
        return f"epoch {self.progress.epochs:.4g} of {self.settings.max_epochs}"


def read_progress(folder: Path, config: Path, settings: TrainSettings) -> Progress:
    """How far the training in ``folder`` is.

    Raises:
        UserError: its newest checkpoint belongs to another configuration.
    """
    latest = find_latest(folder) if folder.is_dir() else None
    if latest is None:
        return Progress()
    content = torch.load(latest, map_location="cpu", weights_only=True, mmap=True)
    trained = str(content["meta"].get("record", {}).get("config_file", config))
    if configuration_name(trained) != configuration_name(config):
        raise UserError(
            f"'{folder}' holds a training of {configuration_name(trained)}, not of "
            f"{configuration_name(config)}: choose another WORK_DIR"
        )
    epochs = float(content["meta"]["epoch"])
    state = content.get("resume")  # mmcv's runner writes whole epochs and none
    if state is not None:
        epochs = state["epoch"] + state["batch"] / state["iters_per_epoch"]
    limit = settings.max_iters
    finished = epochs >= settings.max_epochs or (
        limit is not None and content["meta"]["iter"] >= limit
    )
    return Progress(latest, epochs, finished)


@cache
def count_clips(infos: Path) -> int:
    """Clips of a training info file: every key frame ends one."""
    return len(load_infos(infos))


def checkpoint_bytes(model_cfg: Any, optimizer: OptimizerSettings) -> int:
    """Size of a checkpoint: weights, and the optimiser's state of those that are trained.

    The model is built without memory for its weights; the archive around them adds about 1 %.
    """
    import pftrack.models  # noqa: F401 (registers the components)
    from pftrack.registry import build_model

    with torch.device("meta"):
        model = build_model(dict(model_cfg))
    weights = sum(value.nbytes for value in model.state_dict().values())
    trained = sum(value.nbytes for value in model.parameters() if value.requires_grad)
    return weights + trained * _state_tensors(optimizer)


def _state_tensors(settings: OptimizerSettings) -> int:
    """Tensors of a parameter's size that the optimiser keeps for it: found by one step."""
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.zeros(2)
    kind = getattr(torch.optim, settings.type)
    optimizer = kind([parameter], lr=settings.lr, **settings.kwargs)
    optimizer.step()
    values = optimizer.state[parameter].values()
    return sum(torch.is_tensor(value) and value.shape == parameter.shape for value in values)


def read_measured(path: Path) -> list[Any] | None:
    """[seconds of a step, machine, processes, clips a step] that ``--measure`` wrote."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return [values[key] for key in ("seconds", "device", "processes", "clips_per_step")]
    except (OSError, ValueError, KeyError, TypeError):
        return None
