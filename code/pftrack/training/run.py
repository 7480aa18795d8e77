"""From a configuration file to a running training: what tools/train.py does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pftrack.errors import UserError
from pftrack.locks import check_writable, locked
from pftrack.memory import use_huge_pages
from pftrack.training import distributed, launch
from pftrack.training.checkpoint import NO_SPACE, find_latest
from pftrack.training.distributed import World
from pftrack.training.evaluation import TrackingEvaluation
from pftrack.training.logs import TrainLog
from pftrack.training.mm_config import read_settings
from pftrack.training.settings import TrainSettings


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        overrides: ``a.b=c`` changes of the configuration.
        work_dir: where results go; None: ``work_dirs/<name of the configuration>``.
        device: auto, cpu or cuda.
        resume_from: continue this checkpoint.  auto_resume: continue the newest of the work dir.
        restarted_since: in a restart by the launcher, when that began (s, Unix time): what was
            saved since then is continued, whatever the command says.
        load_from: weights to start from (LOAD_FROM); 'none': random ones.
        seed, deterministic: replace the configuration's when given.
        validate: evaluate as the configuration says.
        dry_run: check everything, print the plan, train nothing.
    """

    config_file: Path
    overrides: tuple[str, ...] = ()
    work_dir: Path | None = None
    device: str = "auto"
    resume_from: Path | None = None
    auto_resume: bool = False
    restarted_since: float | None = None
    load_from: str | None = None
    seed: int | None = None
    deterministic: bool = False
    validate: bool = True
    dry_run: bool = False


def run_training(request: Request) -> int:
    """Train as requested. Returns the exit status: 0, or STOPPED_STATUS after a signal (0).

    Raises:
        UserError: anything the user can put right.
    """
    from pftrack.config import load_config

    cfg = load_config(request.config_file, list(request.overrides))
    settings = _with_request(read_settings(cfg), request)
    use_huge_pages()
    world = distributed.start(request.device, alone=request.dry_run)
    work_dir = request.work_dir or Path(cfg.get("work_dir") or _default_work_dir(request))
    try:
        with (
            _holding(work_dir, request, world),
            closing(
                TrainLog(None if request.dry_run else work_dir, world.is_main, settings.tensorboard)
            ) as log,
        ):
            status = _train(request, cfg, settings, world, work_dir, log)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise UserError(
            f"no space left for logs and results in '{work_dir}': make room and start again, it "
            "resumes (--auto-resume)"
        ) from error
    distributed.stop()
    return status


def _train(
    request: Request, cfg: Any, settings: TrainSettings, world: World, work_dir: Path, log: TrainLog
) -> int:
    from pftrack.training.initial_weights import find_initial_weights
    from pftrack.training.loop import Trainer

    for note in settings.notes:
        log.line(note)
    resume_from = _resume_point(request, settings, work_dir, log)
    start_from = None
    if resume_from is None:
        explicit = request.load_from or _override(request.overrides, "load_from")
        start_from = distributed.broadcast_object(
            find_initial_weights(
                request.config_file, work_dir, explicit, settings.load_from, log.line
            )
        )
    if settings.states_fp16 and settings.precision == "fp32":
        log.line(
            "Fp16OptimizerHook in the config: the network computes in fp32, as the original's did "
            "under that hook, and needs no loss scale; precision=bf16 or fp16 computes in half"
        )
    if settings.precision == "fp16" and world.device.type == "cpu":
        log.line("precision=fp16 on a CPU is many times slower than fp32; bf16 is not")
    trainer = Trainer(_build_job(request, cfg, settings, world, work_dir, log), world, log)
    if resume_from is not None:
        trainer.resume(resume_from)
    elif start_from is not None and world.is_main:  # the others get its weights from there
        trainer.load(start_from)
    log.line(
        f"{request.config_file}: {len(trainer.job.dataset)} samples, {trainer.iters_per_epoch} "
        f"iterations an epoch, {trainer.total_iters - trainer.iteration} to go, {world.size} "
        f"process(es) on {world.device.type}, {trainer.settings.precision}, results in {work_dir}"
    )
    if request.dry_run:
        return 0
    log.header({**trainer.job.meta["record"], "config": trainer.job.meta["config"]})
    finished = trainer.run()
    if finished:
        log.line("training finished")
        return 0
    log.line(f"stopped by a signal, state saved: --auto-resume continues at {trainer.iteration}")
    return launch.stopped_status()


def _resume_point(
    request: Request, settings: TrainSettings, work_dir: Path, log: TrainLog
) -> Path | None:
    """The checkpoint to continue, the same on every process."""
    # Nodes count their restarts apart: what one of them knows counts for all.
    launches = [t for t in distributed.gather_objects(request.restarted_since) if t is not None]
    if launches:
        own = distributed.broadcast_object(find_latest(work_dir, log.line, min(launches)))
        if own is not None:
            return own
    explicit = request.resume_from or settings.resume_from
    if explicit:
        return Path(explicit)
    if request.auto_resume:
        return distributed.broadcast_object(find_latest(work_dir, log.line))
    return None


def _build_job(
    request: Request, cfg: Any, settings: TrainSettings, world: World, work_dir: Path, log: TrainLog
) -> Any:
    import pftrack.models  # noqa: F401 (registers the components)
    from pftrack.config import config_text
    from pftrack.datasets.build import build_dataset
    from pftrack.datasets.collate import collate_clips
    from pftrack.registry import build_model
    from pftrack.training.loop import Job
    from pftrack.training.pretrained import initialize
    from pftrack.training.process import seed_everything
    from pftrack.training.record import run_record

    dataset = build_dataset(cfg, "train")
    if len(dataset) == 0:
        raise UserError(f"no training samples in {cfg.data.train.get('ann_file')}")
    seed_everything(settings.seed)
    model = build_model(cfg.model)
    initialize(model, log.line)
    if model.STReasoner.future_reasoning and not dataset.forecasting:
        raise UserError(
            "future_reasoning=True in the config learns from futures, but data.train has "
            "forecasting=False: set both or neither"
        )
    meta = {
        "config": config_text(cfg),
        "CLASSES": list(dataset.CLASSES),
        "seed": settings.seed,
        "record": run_record(request.config_file, settings.seed, world.device, world.size),
    }
    evaluate = TrackingEvaluation(
        request.config_file, request.overrides, work_dir / "evaluations", settings.precision
    )
    return Job(
        model,
        dataset,
        collate_clips,
        settings,
        work_dir,
        meta,
        evaluate if request.validate else None,
    )


def _with_request(settings: TrainSettings, request: Request) -> TrainSettings:
    if request.seed is not None:
        settings = replace(settings, seed=request.seed)
    if request.deterministic:
        settings = replace(settings, deterministic=True)
    return settings


def _override(overrides: tuple[str, ...], name: str) -> str | None:
    values = [o.split("=", 1)[1] for o in overrides if o.startswith(f"{name}=")]
    return values[-1] if values else None


def _default_work_dir(request: Request) -> str:
    return f"work_dirs/{request.config_file.stem}"


@contextmanager
def _holding(folder: Path, request: Request, world: World) -> Iterator[None]:
    """The work dir, held by the main process; a dry run only looks whether it could be."""
    if request.dry_run or not world.is_main:
        check_writable(folder)
        yield
        return
    with locked(folder):
        yield
