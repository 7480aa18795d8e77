"""Carry out a plan: measure, train, evaluate, compare, write down. What tools/retrain.py does."""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from pftrack.errors import UserError
from pftrack.files import write_json
from pftrack.locks import locked
from pftrack.paths import CODE, RETRAINING_RECORD
from pftrack.retraining.child import run_child
from pftrack.retraining.comparison import compare, losses_table, metrics_table
from pftrack.retraining.history import epoch_losses, read_runs
from pftrack.retraining.plan import Plan, make_plan
from pftrack.retraining.record import (
    Outcome,
    Record,
    Stage,
    StepTime,
    load_record,
    record_content,
)
from pftrack.retraining.stage import (
    STEP_TIME_FILE,
    Machine,
    StagePlan,
    read_progress,
)

AMOTA_MARGIN = 0.01  # below a known retraining, for records that are written here


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        root: folder of the stages' work dirs.
        only: names of stages or parts of them; empty: all.
        overrides: ``a.b=c`` changes of every configuration.
        nuscenes, version: of the data, where they are not the configurations'.
        measure: steps to train for the step time of each stage that has none; 0: do not.
        plan_only: print the plan and change nothing.
        write_record: file for what was found, in the record's format.
    """

    root: Path
    machine: Machine
    record: Path = RETRAINING_RECORD
    only: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    nuscenes: str | None = None
    version: str | None = None
    measure: int = 0
    plan_only: bool = False
    write_record: Path | None = None


def retrain(request: Request) -> int:
    """Print the plan, bring every stage to its end, compare. Returns 0, or 1: a judged line failed.

    Raises:
        UserError: the user's to put right.  SystemExit: a child failed, and has said why.
        Stopped: by a signal; the same request continues.
    """
    if request.write_record is not None and not request.write_record.parent.is_dir():
        raise UserError(f"no folder {request.write_record.parent} to write the record into")
    record = load_record(request.record)
    chosen = record.select(list(request.only))

    def look() -> Plan:
        data = request.nuscenes, request.version
        return make_plan(record, chosen, request.root, request.machine, request.overrides, data)

    plan = look()
    if request.measure:
        plan.check()
        with locked(request.root) as lock:
            for stage in plan.stages:
                if stage.step_time is None or stage.is_estimate:
                    _measure(stage, request.measure, lock)
        plan = look()
    print(plan.text(), flush=True)
    if request.plan_only:
        return 0
    plan.check()
    passed = True
    results = []
    with locked(request.root) as lock:
        for stage in plan.stages:
            _train(plan, stage, lock)
            _evaluate(stage, lock)
            outcome = _outcome(stage)
            passed &= _compare(stage.stage, outcome)
            results.append(_as_record(stage, outcome))
    if request.write_record is not None:
        today = time.strftime("%Y-%m-%d")
        about = f"A retraining of {today}; published numbers from {request.record.name}."
        write_json(request.write_record, record_content(Record(about, tuple(results))))
        print(f"record written: {request.write_record}")
    return 0 if passed else 1


def _measure(plan: StagePlan, steps: int, lock: int) -> None:
    """Train ``steps`` steps in a folder that is removed, and keep the median time of the last half.

    The weights are random; data, processes and settings are the training's.
    """
    print(f"\n{plan.stage.name}: {steps} steps, for the time of one", flush=True)
    plan.folder.mkdir(exist_ok=True)
    changes = (f"runner.max_iters={steps}", "runner.max_epochs=1000", "log_config.interval=1")
    with tempfile.TemporaryDirectory(prefix=".measure_", dir=plan.folder) as folder:
        _run_training(plan, Path(folder), ["--load-from", "none"], changes, lock)
        times = [line.seconds for run in read_runs(Path(folder)) for line in run.lines]
    if len(times) < steps:
        _stopped_early(plan)
    content = {
        "seconds": statistics.median(times[steps // 2 :]),
        "device": plan.machine.name,
        "processes": plan.machine.processes,
        "clips_per_step": plan.clips_per_step,
        "steps": steps,
    }
    write_json(plan.folder / STEP_TIME_FILE, content)


def _train(plan: Plan, stage: StagePlan, lock: int) -> None:
    """Begin or continue a stage, to its end."""
    if stage.progress.finished:
        return
    print(f"\n{stage.stage.name}: training, {stage.status}", flush=True)
    options = ["--auto-resume", "--load-from", plan.start(stage).load_from]
    _run_training(stage, stage.folder, options, (), lock)
    stage.progress = read_progress(stage.folder, stage.config, stage.settings)
    if not stage.progress.finished:
        _stopped_early(stage)


def _stopped_early(plan: StagePlan) -> NoReturn:
    """Somebody else told the training to end, and it did so in good order."""
    print(f"{plan.stage.name}: stopped before its end", file=sys.stderr)
    raise SystemExit(1)


def _run_training(
    plan: StagePlan, work_dir: Path, options: list[str], changes: tuple[str, ...], lock: int
) -> None:
    command = ["bash", str(CODE / "tools/dist_train.sh"), str(plan.config), str(plan.machine.gpus)]
    # The evaluation that the configuration asks for at the end is made afterwards, with the report.
    command += ["--work-dir", str(work_dir), "--no-validate", *options]
    overrides = [*plan.overrides, *changes]
    _run(command + (["--cfg-options", *overrides] if overrides else []), plan.machine, lock)


def _evaluate(stage: StagePlan, lock: int) -> None:
    """Make the evaluations that are missing."""
    for task in stage.to_evaluate():
        print(f"\n{stage.stage.name}: {task} with {stage.progress.checkpoint}", flush=True)
        tool, *arguments = stage.evaluation(task).command(stage.machine.gpus)
        _run([sys.executable, str(CODE / tool), *arguments], stage.machine, lock)


def _run(command: list[str], machine: Machine, lock: int) -> None:
    environment = {"DEVICE": machine.device, "PYTHON": sys.executable}
    status = run_child(command, environment, lock)
    if status < 0:
        print(f"{Path(command[1]).name} was killed by signal {-status}", file=sys.stderr)
    if status:
        raise SystemExit(status if status > 0 else 1)


def _outcome(stage: StagePlan) -> Outcome:
    """What the logs and evaluations of a finished stage say."""
    metrics: dict[str, float] = {}
    class_amota: dict[str, float] = {}
    for task in stage.stage.evaluate:
        metrics |= stage.evaluation(task).metrics()
        class_amota |= stage.evaluation(task).class_amota()
    runs = read_runs(stage.folder)
    facts = runs[-1].facts if runs else {}
    by = (
        f"{facts.get('processes', '?')} process(es) on {facts.get('device', '?')}, seed "
        f"{facts.get('seed', '?')}, commit {str(facts.get('git_commit', '?'))[:10]}, "
        f"{str(facts.get('started', '?'))[:10]}"
    )
    return Outcome(by, metrics, class_amota, epoch_losses(runs))


def _compare(stage: Stage, outcome: Outcome) -> bool:
    """Print a stage beside the record. Returns False when a judged metric failed."""
    reference = stage.retrained
    print(f"\n{stage.name}: {outcome.by}")
    if reference is not None:
        print(f"retrained before: {reference.by}")
    print("\n" + losses_table(outcome.losses, reference.losses if reference else {}))
    rows = compare(stage, outcome)
    if rows:
        print("\n" + metrics_table(rows), flush=True)
    return all(row.passed is not False for row in rows)


def _as_record(plan: StagePlan, outcome: Outcome) -> Stage:
    """The stage with our outcome in place of the one we compared with."""
    stage = replace(plan.stage, retrained=outcome, clips_per_step=plan.clips_per_step)
    amota = outcome.metrics.get("AMOTA", math.nan)
    stage = replace(
        stage, at_least={} if math.isnan(amota) else {"AMOTA": max(0.0, amota - AMOTA_MARGIN)}
    )
    if plan.step_time is not None and not plan.is_estimate:
        seconds = plan.step_time[0] / plan.settings.samples_per_gpu
        basis = f"measured with {plan.machine.processes} process(es)"
        stage = replace(stage, step_time=StepTime(seconds, str(plan.machine.name), basis))
    return stage
