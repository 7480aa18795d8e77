"""The plan of a retraining: its stages in order, where each starts, what is in the way.

Making it changes nothing. What it needs and is not there (data, weights, room) is an error only
when the plan is to be carried out (:meth:`Plan.check`).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pftrack.config import configuration_name, find_config
from pftrack.datasets.build import data_options
from pftrack.devices import choose_devices
from pftrack.errors import UserError
from pftrack.evaluation.text import align
from pftrack.retraining.record import Record, Stage
from pftrack.retraining.stage import Machine, StagePlan
from pftrack.training.initial_weights import (
    find_published,
    previous_configuration,
)


@dataclass(frozen=True)
class Start:
    """Where a training starts from.

    Attributes:
        text: for people.  load_from: train.py's option.  problem: why it cannot start.
    """

    text: str
    load_from: str = "none"
    problem: str | None = None


@dataclass
class Plan:
    """The stages to run, in order.

    Attributes:
        root: folder that holds the stages' folders.
        stages: the chosen ones.  others: the rest of the record.
    """

    root: Path
    machine: Machine
    stages: list[StagePlan]
    others: list[StagePlan]

    def start(self, plan: StagePlan) -> Start:
        """Where a stage starts from: the stage before it in this folder, or published weights."""
        name = previous_configuration(plan.config)
        everything = [*self.stages, *self.others]
        before = next((p for p in everything if configuration_name(p.config) == name), None)
        configured = plan.settings.load_from
        if before is not None and before.progress.finished:
            assert before.progress.checkpoint is not None
            return Start(before.stage.name, str(before.progress.checkpoint))
        if before in self.stages[: self.stages.index(plan)]:
            return Start(before.stage.name)  # its checkpoint is not there yet
        published = find_published(configured) if configured else None
        if published is not None:
            return Start(published.name, str(published))
        if before is not None:
            return Start(
                before.stage.name,
                problem=f"{plan.stage.name} starts from {before.stage.name}, which has not "
                f"finished in {self.root}: train it first, or 'make checkpoints' for its weights",
            )
        if configured:
            return Start(
                f"{Path(configured).name} (missing)",
                problem=f"{plan.stage.name} starts from {configured}, which is not there: 'make "
                "checkpoints', or ARGS='--cfg-options load_from=None' for random weights",
            )
        return Start("random weights")

    @property
    def free_bytes(self) -> int:
        """Of the disk that ``root`` is on, or will be."""
        return shutil.disk_usage(next(p for p in _with_parents(self.root) if p.is_dir())).free

    @property
    def bytes_to_write(self) -> int:
        return sum(plan.bytes_to_write for plan in self.stages)

    def check(self) -> None:
        """Can the plan be carried out?

        Raises:
            UserError: the first thing that is in the way; nothing has been written.
        """
        nodes = os.environ.get("NNODES") or "1"
        if nodes != "1":
            raise UserError(
                f"NNODES={nodes}: retraining runs on one machine; train the stages with 'make "
                "train-f1' and 'make train-f3' into their folders, then this compares them"
            )
        choose_devices(self.machine.gpus, self.machine.device)
        for plan in self.stages:
            missing = plan.missing_data()
            if missing is not None:
                raise UserError(
                    f"{missing}, which {plan.stage.name} needs: 'make data', or name your data "
                    "with ARGS='--cfg-options data.train.ann_file=...' (docs/training.md)"
                )
            problem = self.start(plan).problem
            if problem is not None and plan.progress.checkpoint is None:
                raise UserError(problem)
        if self.bytes_to_write > self.free_bytes:
            raise UserError(
                f"the checkpoints need {_gb(self.bytes_to_write)} GB more, the disk of {self.root} "
                f"has {_gb(self.free_bytes)} GB left: make room, or choose another WORK_DIR"
            )

    # ------------------------------------------------------------------ for people

    def text(self) -> str:
        """The table and what its numbers rest on."""
        head = ["stage", "configuration", "epochs x iterations", "step s", "hours", "to go"]
        rows = [[*head, "disk GB", "starts from", "status"]]
        for plan in self.stages:
            mark = "~" if plan.is_estimate else ""
            hours = [plan.hours, plan.hours_to_go]
            rows.append(
                [
                    plan.stage.name,
                    configuration_name(plan.config),
                    f"{plan.settings.max_epochs} x {plan.iters_per_epoch}",
                    f"{mark}{plan.step_time[0]:.3g}" if plan.step_time else "-",
                    *(f"{mark}{h:.3g}" if h is not None else "-" for h in hours),
                    _gb(plan.disk_bytes),
                    self.start(plan).text,
                    plan.status,
                ]
            )
        to_go = [plan.hours_to_go for plan in self.stages]
        mark = "~" if any(plan.is_estimate for plan in self.stages) else ""
        total = "unknown" if None in to_go else f"{mark}{sum(h or 0.0 for h in to_go):.3g}"
        closing = (
            f"in all: {total} hours to go, without evaluations; {_gb(self.bytes_to_write)} GB to "
            f"write, {_gb(self.free_bytes)} GB free for {self.root}"
        )
        return "\n".join([align(rows), "", *dict.fromkeys(self._notes()), closing])

    def _notes(self) -> list[str]:
        notes = []
        for plan in self.stages:
            if plan.train_infos.is_file():
                notes.append(f"clips an epoch: {plan.clips}, counted in {plan.train_infos}")
            else:
                notes.append(
                    f"clips an epoch: {plan.clips}, nuScenes' training key frames (there is no "
                    f"{plan.train_infos})"
                )
        for plan in self.stages:
            if plan.step_time is None:
                notes.append(
                    f"step time of {plan.stage.name}: unknown here; ARGS='--measure 10' takes it"
                )
            elif plan.is_estimate:
                assert plan.stage.step_time is not None
                notes.append(
                    f"~ estimate, not measured on this machine: {plan.stage.step_time.basis}; "
                    "ARGS='--measure 10' measures"
                )
            else:
                where = {"log": "the stage's own log", "measured": "--measure"}
                notes.append(
                    f"step time of {plan.stage.name}: measured on {self.machine.name}, "
                    f"{self.machine.processes} process(es), by {where[plan.step_time[1]]}"
                )
        for plan in self.stages:
            wanted = plan.stage.clips_per_step
            if wanted is not None and wanted != plan.clips_per_step:
                notes.append(
                    f"note: a step is {plan.clips_per_step} clip(s) here and {wanted} in the "
                    "record: losses and metrics will differ (GPUS, data.samples_per_gpu)"
                )
        return notes


def make_plan(
    record: Record,
    chosen: list[Stage],
    root: Path,
    machine: Machine,
    overrides: tuple[str, ...] = (),
    data: tuple[str | None, str | None] = (None, None),
) -> Plan:
    """Look at configurations, data and folders.

    Args:
        data: nuScenes' folder and version, where they are not the configurations'.

    Raises:
        UserError: a configuration cannot be read, or a folder holds another training.
    """

    def look(stage: Stage) -> StagePlan:
        options = data_options(find_config(stage.config), *data, overrides)
        return StagePlan(stage, root / stage.name, machine, options)

    others = [look(stage) for stage in record.stages if stage not in chosen]
    return Plan(root, machine, [look(stage) for stage in chosen], others)


def _gb(size: int) -> str:
    return f"{size / 1e9:.3g}"


def _with_parents(path: Path) -> list[Path]:
    path = path.absolute()
    return [path, *path.parents]
