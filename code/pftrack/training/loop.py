"""The training loop, both steps, any number of processes. Read :meth:`Trainer.run` first.

    settings <- config          dataset -> sampler -> loader -> batch
    model, optimiser, scaler    batch -> losses -> gradients -> step -> log, checkpoint, evaluation

Everything that decides the next step is in a checkpoint or a function of (seed, position), so that
a run that was killed and resumed computes bit for bit what the uninterrupted one computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from pftrack.checkpoints.reading import load_checkpoint_file, load_into
from pftrack.errors import UserError
from pftrack.models.acceleration import compile_modules, precision_context
from pftrack.models.layers.winograd import use_winograd
from pftrack.structures import ClipBatch
from pftrack.training import checkpoint as ckpt
from pftrack.training import distributed
from pftrack.training.distributed import World
from pftrack.training.evaluation import EvaluationHistory
from pftrack.training.logs import TrainLog
from pftrack.training.nan_guard import NanGuard
from pftrack.training.optimizer import LossScaler, build_optimizer, check_state
from pftrack.training.process import (
    StopSignals,
    allow_tf32,
    default_workers,
    ending_workers,
    hash_seed,
    quiet_worker,
    seed_everything,
)
from pftrack.training.sampler import EpochDataset, ResumableSampler
from pftrack.training.schedule import learning_rate
from pftrack.training.settings import TrainSettings


@dataclass
class Job:
    """What is trained: parts built from a configuration, and where the results go.

    Attributes:
        model: ``model(batch)`` returns the losses by name; those with "loss" in it are summed.
        dataset: items by index; ``set_epoch(e)`` when its augmentation depends on the epoch.
        collate: list of items -> :class:`ClipBatch`.
        meta: plain values stored in every checkpoint (config text, classes, run record).
        evaluate: tracking metrics of a checkpoint; called on every process, the main one's count.
    """

    model: nn.Module
    dataset: Any
    collate: Callable[[list[Any]], ClipBatch]
    settings: TrainSettings
    work_dir: Path
    meta: dict[str, Any] = field(default_factory=dict)
    evaluate: Callable[[Path, World], dict[str, float]] | None = None


class Trainer:
    """One process of a training.

    Position: ``iteration`` steps are done; they make up ``epoch`` whole epochs and ``batch`` steps
    of the next one.
    """

    def __init__(self, job: Job, world: World, log: TrainLog) -> None:
        self.job, self.world, self.log = job, world, log
        self.settings = settings = job.settings
        self._seed(settings.seed + world.rank)
        if world.device.type == "cuda":
            allow_tf32(settings.tf32)
        self.model = job.model.to(world.device)
        if settings.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if world.device.type == "cpu":
            use_winograd(self.model)
        self.optimizer = build_optimizer(self.model, settings.optimizer)
        self.parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
        self.scaler = LossScaler(settings, world.device)
        self.guard = NanGuard(settings.nan_guard, job.work_dir, world.rank)
        self.history = EvaluationHistory(job.work_dir, settings.evaluation)
        self.signals = StopSignals()
        self.sampler = ResumableSampler(
            len(job.dataset), settings.samples_per_gpu, settings.seed, world.rank, world.size
        )
        self.dataset = EpochDataset(job.dataset)
        self.loader = self._build_loader()
        self.iters_per_epoch = self.sampler.batches_per_epoch
        self.total_iters = self.iters_per_epoch * settings.max_epochs
        if settings.max_iters is not None:
            self.total_iters = min(self.total_iters, settings.max_iters)
        self.iteration = 0
        self._saved_at = time.monotonic()

    @property
    def epoch(self) -> int:
        return self.iteration // self.iters_per_epoch

    @property
    def batch(self) -> int:
        return self.iteration % self.iters_per_epoch

    # ------------------------------------------------------------------ the loop

    def run(self) -> bool:
        """Train from the current position to the end.

        Returns:
            True at the end of training, False when a signal ended it early (state saved).
        """
        parallel = self._parallel_model()
        with self.signals, ending_workers(self.loader):
            self._evaluate_if_due()
            self.log.begin(self.iteration, self.total_iters)
            while self.iteration < self.total_iters:
                stop = self._run_epoch(parallel)
                if stop or self._checkpoint_due_after_epoch():
                    self._save_position()
                if stop:
                    return False
                self._evaluate_if_due()
        return True

    def _run_epoch(self, parallel: nn.Module) -> bool:
        """Steps to the end of the epoch or of the training. True: a signal asks to stop here."""
        for batch, data_time in self._batches():
            begun = time.monotonic()
            losses, stop, snapshot = self._step(parallel, batch)
            self.iteration += 1
            self.log.add(losses, data_time, data_time + time.monotonic() - begun)
            self._log_if_due()
            if stop or self.iteration == self.total_iters:
                return stop
            if self.batch and (snapshot or self._checkpoint_due_inside_epoch()):
                self._save_position()
        return False

    def _step(self, parallel: nn.Module, batch: ClipBatch) -> tuple[dict[str, Tensor], bool, bool]:
        """Forward, backward, clip, step.

        Returns:
            the losses with their sum ``loss`` and ``grad_norm``; whether to stop; whether to save a
            snapshot (both agreed between the processes).
        """
        rng = ckpt.rng_state()
        self._set_learning_rate()
        batch = batch.to(self.world.device, non_blocking=True).normalized()
        with precision_context(self.settings.precision, self.world.device):
            losses = dict(parallel(batch))
        total = torch.stack([v.float() for k, v in losses.items() if "loss" in k]).sum()
        self.scaler.scaler.scale(total).backward()
        self.scaler.scaler.unscale_(self.optimizer)
        norm = self._clip_gradients()
        # An overflow under fp16 is the scaler's affair: it leaves the step out by itself.
        bad_norm = ~norm.isfinite() & (self.settings.precision != "fp16")
        bad, stop, snapshot = self._agree(~total.isfinite() | bad_norm)
        if bad:
            terms = {**losses, "gradient norm": norm}
            self.log.line(self.guard.handle(terms, batch, self.iteration, self._repro_state(rng)))
            self.scaler.skip()
        else:
            self.guard.finite_step()
            self.scaler.step(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)
        return {**losses, "loss": total.detach(), "grad_norm": norm}, stop, snapshot

    def _batches(self) -> Iterator[tuple[ClipBatch, float]]:
        """The rest of the current epoch, each batch with the seconds spent waiting for it."""
        self.sampler.set_position(self.epoch, self.batch)
        self.dataset.set_epoch(self.epoch)
        begun = time.monotonic()
        for batch in self.loader:
            yield batch, time.monotonic() - begun
            begun = time.monotonic()

    def _agree(self, nonfinite: Tensor) -> list[bool]:
        """[non-finite, stop, snapshot due] on any process: the only synchronisation of a step."""
        minutes = self.settings.checkpoint.snapshot_minutes
        due = minutes > 0 and time.monotonic() - self._saved_at > 60 * minutes
        mine = [0.0, float(self.signals.requested), float(due and self.world.is_main)]
        flags = torch.tensor(mine).to(self.world.device)
        flags[0] = nonfinite
        return [value > 0 for value in distributed.reduce_max(flags).tolist()]

    # ------------------------------------------------------------------ parts of a step

    def _parallel_model(self) -> nn.Module:
        compile_modules(self.model, self.settings.compile)
        if not torch.distributed.is_initialized():
            return self.model.train()
        return DistributedDataParallel(
            self.model,
            device_ids=[self.world.device.index] if self.world.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
            static_graph=self.settings.static_graph,
            find_unused_parameters=self.settings.find_unused_parameters,
        ).train()

    def _set_learning_rate(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(
                self.settings.schedule,
                group["initial_lr"],
                self.iteration,
                self.iters_per_epoch,
                self.settings.max_epochs,
            )

    def _clip_gradients(self) -> Tensor:
        """Clip to the configured norm; returns the norm before."""
        limit = self.settings.grad_clip
        return nn.utils.clip_grad_norm_(
            self.parameters, float("inf") if limit is None else limit, self.settings.grad_norm_type
        )

    def _build_loader(self) -> DataLoader[ClipBatch]:
        workers = self.settings.workers_per_gpu
        if workers is None:
            workers = default_workers()
        return DataLoader(
            self.dataset,
            batch_size=self.settings.samples_per_gpu,
            sampler=self.sampler,
            num_workers=workers,
            collate_fn=self.job.collate,
            pin_memory=self.world.device.type == "cuda",
            generator=torch.Generator(),  # its own: the model's random numbers stay untouched
            worker_init_fn=quiet_worker,
            persistent_workers=workers > 0,
        )

    def _seed(self, seed: int) -> None:
        settings, benchmark = self.settings, self.settings.cudnn_benchmark
        if benchmark is None:
            benchmark = settings.precision != "fp32"
        seed_everything(seed, settings.deterministic, benchmark)

    # ------------------------------------------------------------------ state

    def _save_position(self) -> None:
        self.save(f"iter_{self.iteration}.pth" if self.batch else f"epoch_{self.epoch}.pth")

    def save(self, name: str) -> None:
        """Write the whole state of all processes to ``work_dir / name``."""
        states = distributed.gather_objects(ckpt.rng_state())
        self._saved_at = time.monotonic()
        if not self.world.is_main:
            return
        path = self.job.work_dir / name
        resume = {
            "epoch": self.epoch,
            "batch": self.batch,
            "iters_per_epoch": self.iters_per_epoch,
            "seed": self.settings.seed,
            "scaler": self.scaler.scaler.state_dict(),
            "skipped_in_row": self.guard.skipped_in_row,
            "rng": states,
        }
        content = {
            "meta": self._meta(),
            "state_dict": ckpt.cpu_state_dict(self.model),
            "optimizer": self.optimizer.state_dict(),
            "resume": resume,
        }
        ckpt.save_atomically(content, path)
        ckpt.link_latest(path)
        ckpt.prune(self.job.work_dir, self.settings.checkpoint.max_keep_ckpts)
        self.log.line(f"saved {path}")

    def load(self, path: Path) -> None:
        """Start from another training's weights (``load_from``).

        The loss's factors are settings that happen to be stored with the weights: this
        configuration's are kept.
        """
        entries = self.model.state_dict().items()
        settings = {k: v.clone() for k, v in entries if k.endswith("criterion.code_weights")}
        report = load_into(self.model, str(path), classes=self.job.meta.get("CLASSES"))
        for line in report.summary().splitlines():
            self.log.line(line)
        self.model.load_state_dict(settings, strict=False)

    def resume(self, path: Path) -> None:
        """Continue the training that wrote ``path``; the main process alone reads it.

        Raises:
            UserError: it belongs to another model or has no fitting optimiser state.
        """
        read = load_checkpoint_file(path) if self.world.is_main else None
        content = distributed.broadcast_object(read)
        try:
            load_into(self.model, content, strict=True, classes=self.job.meta.get("CLASSES"))
        except UserError as error:
            raise UserError(f"cannot resume '{path}': {error}") from error
        self._load_optimizer(content, path)
        state = ckpt.resume_state(content, path)
        if not content["optimizer"]["state"] and (state is None or not state.skipped_in_row):
            raise UserError(f"cannot resume '{path}': its optimiser has no moments, use LOAD_FROM")
        if state is None:  # written by mmcv's runner: whole epochs only
            self.iteration = content["meta"]["epoch"] * self.iters_per_epoch
            self.log.line(f"resumed {path} at epoch {self.epoch}, without random states")
            return
        if state.scaler:  # none: the training computed in another precision
            self.scaler.scaler.load_state_dict(state.scaler)
        self.guard.skipped_in_row = state.skipped_in_row
        kept = (len(state.rng), state.iters_per_epoch, state.seed)
        if kept == (self.world.size, self.iters_per_epoch, self.settings.seed):
            self.iteration = state.epoch * self.iters_per_epoch + state.batch
            ckpt.set_rng_state(state.rng[self.world.rank])
        else:
            self.iteration = round(state.epochs * self.iters_per_epoch)
            self._seed(hash_seed(self.settings.seed, self.world.rank, self.iteration))
            self.log.line("processes, batch size, data or seed changed: sample order starts anew")
        self.log.line(f"resumed {path} at epoch {self.epoch}, batch {self.batch}")

    def _load_optimizer(self, content: Mapping[str, Any], path: Path) -> None:
        if not isinstance(content.get("optimizer"), Mapping):
            raise UserError(f"cannot resume '{path}': it has no optimiser state, use LOAD_FROM")
        configured = [
            {k: v for k, v in group.items() if k != "params"}
            for group in self.optimizer.param_groups
        ]
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        try:
            check_state(self.optimizer, content["optimizer"], names)
            self.optimizer.load_state_dict(dict(content["optimizer"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"cannot resume '{path}': its optimiser state has another layout ({error}), use "
                "LOAD_FROM"
            ) from error
        for group, values in zip(self.optimizer.param_groups, configured, strict=True):
            group.update(values)  # rates and decays are the config's, moments the checkpoint's

    def _meta(self) -> dict[str, Any]:
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        return {**self.job.meta, "epoch": self.epoch, "iter": self.iteration, "time": now}

    def _repro_state(self, rng: dict[str, Any]) -> dict[str, Any]:
        return {"meta": self._meta(), "state_dict": ckpt.cpu_state_dict(self.model), "rng": rng}

    # ------------------------------------------------------------------ now and then

    def _log_if_due(self) -> None:
        at_end = self.batch == 0 or self.iteration == self.total_iters
        if self.iteration % self.settings.log_interval and not at_end:
            return
        epoch, batch = (
            (self.epoch + 1, self.batch) if self.batch else (self.epoch, self.iters_per_epoch)
        )
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        self.log.write(
            self.iteration,
            epoch,
            batch,
            self.iters_per_epoch,
            self.total_iters - self.iteration,
            rate,
        )

    def _checkpoint_due_inside_epoch(self) -> bool:
        settings = self.settings.checkpoint
        return not settings.by_epoch and self.iteration % settings.interval == 0

    def _checkpoint_due_after_epoch(self) -> bool:
        settings = self.settings.checkpoint
        due = not settings.by_epoch or self.epoch % settings.interval == 0
        return due or self.iteration == self.total_iters or self._evaluation_due()

    def _evaluation_due(self) -> bool:
        """Decided on the main process, which has the history."""
        due = self.batch == 0 and self.job.evaluate is not None and self.history.is_due(self.epoch)
        return distributed.broadcast_object(due)

    def _evaluate_if_due(self) -> None:
        """Evaluate after a whole epoch, once; the best weights are kept."""
        if not self._evaluation_due():
            return
        assert self.job.evaluate is not None
        state = ckpt.rng_state()
        path = self.job.work_dir / f"epoch_{self.epoch}.pth"
        metrics = None
        try:
            metrics = self.job.evaluate(path, self.world)
        except Exception as error:  # whatever it is, hours of training do not end by it
            named = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            reason = " ".join(str(error).split())
            self.log.line(f"evaluation of {path} failed ({named}{reason}): the training goes on")
        ckpt.set_rng_state(state)
        if self.world.is_main and metrics is not None:
            self.log.write_evaluation(self.iteration, self.epoch, metrics)
            if self.history.add(self.epoch, metrics):
                ckpt.copy_best(path, str(self.settings.evaluation.save_best))
        distributed.barrier()
