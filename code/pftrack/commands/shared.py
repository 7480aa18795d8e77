"""What the command lines for inference share: options, folders, evaluation of a run, its report."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from pftrack.arguments import MOST_PROCESSES, Parser, whole
from pftrack.commands.data_arguments import add_data_options, add_strict_option
from pftrack.deployment.description import DEPLOYMENT_FILE
from pftrack.devices import add_device_option, choose_devices
from pftrack.errors import UserError
from pftrack.files import read_json, write_json
from pftrack.nuscenes.splits import is_split_file
from pftrack.nuscenes.versions import TRAINVAL
from pftrack.tracking.job import RUN_FILE, DataCheck, InferenceJob, tracking_section
from pftrack.tracking.runner import InferenceRun, run_inference

OPTIONS = ("precision", "fuse_conv_bn", "compile", "engine")  # of a run, that its report names
Text = Annotated[str, msgspec.Meta(min_length=1)]
PUBLISHED_SOURCE = "PF-Track (CVPR 2023), nuScenes val"


def add_job_options(parser: argparse.ArgumentParser, gpus: int = 1) -> None:
    """Options of every command that runs inference."""
    parser.add_argument(
        "--gpus",
        type=whole(0, MOST_PROCESSES),
        default=gpus,
        help=f"processes, one GPU each; 0: CPU ({gpus})",
    )
    add_device_option(parser)
    parser.add_argument("--split", default="val", help="name or file of scene names (val)")
    add_data_options(parser)
    add_strict_option(parser)
    parser.add_argument("--precision", choices=["fp32", "fp16", "bf16"], default="fp32")
    parser.add_argument(
        "--fuse-conv-bn",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="fold batch norms into convolutions; on a CPU in fp32 compute large convolutions with "
        "fewer products: faster, other last digits",
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile, slow to start")
    parser.add_argument("--keep-scenes", action="store_true", help="keep the files of each scene")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="a.b=c", help="changes of the config"
    )


def add_streams_option(parser: argparse.ArgumentParser) -> None:
    """``--streams`` of commands that track."""
    parser.add_argument(
        "--streams",
        type=whole(1, 1000),
        default=1,
        help="scenes that each process tracks at once, one backbone call for all (1)",
    )


def checkpoint_parser(description: str | None, task: str) -> argparse.ArgumentParser:
    """Arguments of a command that runs a checkpoint on a split.

    Args:
        task: ``eval`` or ``detect``, the beginning of the default work dir.
    """
    parser = Parser(description=description)
    parser.add_argument("checkpoint", help="absolute, relative, or below checkpoints/")
    parser.add_argument("--config", help="default: the one the checkpoint belongs to")
    parser.add_argument("--work-dir", type=Path, help=f"default: work_dirs/{task}_<checkpoint>")
    add_job_options(parser)
    return parser


def run_checkpoint(
    args: argparse.Namespace,
    name: str,
    check: DataCheck | None = None,
    task: Any = "tracking",
    engine: Any = "torch",
    streams: int = 1,
) -> tuple[InferenceRun, Path]:
    """Run what a :func:`checkpoint_parser` has parsed.

    Args:
        name: the beginning of the default work dir.  check: see :func:`run_inference`.
        task, engine, streams: see :class:`InferenceJob`.

    Returns:
        the run and the work dir.
    """
    from pftrack.checkpoints.reading import find_checkpoint

    checkpoint = find_checkpoint(args.checkpoint)
    config = find_config(args.config, checkpoint)
    work_dir = args.work_dir or default_work_dir(checkpoint, name)
    print(f"configuration {config}, results in {work_dir}", flush=True)
    job = make_job(args, config, checkpoint, task)
    job = replace(job, engine=engine, streams=streams)
    if engine == "onnx":
        job = replace(job, deployment=str(_deployed(job, work_dir / "deployment")))
    return run_job(job, args, work_dir, check), work_dir


def _deployed(job: InferenceJob, folder: Path) -> Path:
    """The job's checkpoint as ONNX, exported unless it is there already.

    Raises:
        UserError: options that an export has built in.
    """
    from pftrack.deployment.description import named, read_deployment, sha256
    from pftrack.deployment.export import export_tracker

    if job.compile or job.precision == "bf16":
        raise UserError(
            "engine onnx: --compile and --precision bf16 are PyTorch's: leave them out, or use "
            "engine static"
        )
    sources = named(job.config), list(job.overrides), sha256(Path(job.checkpoint)), job.precision
    if (folder / DEPLOYMENT_FILE).is_file():
        there = read_deployment(folder)
        if sources == (there.config, there.overrides, there.checkpoint_sha256, there.precision):
            return folder
    print(f"exporting to {folder} ...", flush=True)
    export_tracker(
        job.config,
        job.checkpoint,
        folder,
        precision=job.precision,
        overrides=job.overrides,
    )
    return folder


def make_job(
    args: argparse.Namespace, config: str | Path, checkpoint: str | Path, task: Any = "tracking"
) -> InferenceJob:
    """The job that parsed options describe."""
    from pftrack.datasets.build import data_options

    section, note = None, None
    overrides = data_options(config, args.nuscenes, args.version, args.cfg_options)
    if task == "tracking" and args.split == "val":
        section, note = tracking_section(str(config), overrides)
    if note:
        print(note, flush=True)
    return InferenceJob(
        config=str(config),
        checkpoint=str(checkpoint),
        split=os.path.abspath(args.split) if is_split_file(args.split) else args.split,
        section=section,
        overrides=overrides,
        task=task,
        precision=args.precision,
        fuse_conv_bn=args.fuse_conv_bn,
        compile=args.compile,
    )


def run_job(
    job: InferenceJob, args: argparse.Namespace, out_dir: Path, check: DataCheck | None = None
) -> InferenceRun:
    """Run inference and note beside the results how they were made."""
    devices = choose_devices(args.gpus, args.device)
    run = run_inference(job, devices, out_dir, args.keep_scenes, check)
    facts = {"job": asdict(job), "devices": devices, **asdict(run)}
    write_json(out_dir / RUN_FILE, json.loads(json.dumps(facts, default=str)))
    return run


def status_of(run: InferenceRun, evaluated: bool = True) -> int:
    """Exit status of a command that ran inference; says so when nothing at all was found.

    Args:
        evaluated: the command's purpose are metrics, and there are none without a box: 1. Where
            only the results file was asked for, it is 1 when a network whose numbers are not finite
            made it empty; an empty file of a network that is sure of nothing is a result like any.
    """
    if run.nothing_found is None:
        return 0
    print(
        f"{run.nothing_found}: is it the right checkpoint, config and data?",
        file=sys.stderr,
        flush=True,
    )
    return int(evaluated or run.not_finite > 0)


def default_work_dir(checkpoint: Path, task: str) -> Path:
    """``work_dirs/<task>_<folder>_<name>`` of a checkpoint."""
    return Path("work_dirs") / f"{task}_{checkpoint.resolve().parent.name}_{checkpoint.stem}"


def find_config(config: str | None, checkpoint: Path) -> Path:
    """The configuration named by the user, else the one the checkpoint belongs to.

    Raises:
        UserError: no such file, or no configuration fits the checkpoint.
    """
    if config is None:
        from pftrack.checkpoints.fit import config_of_checkpoint

        return config_of_checkpoint(checkpoint)
    from pftrack import config as configuration

    return configuration.find_config(config)


def evaluate_and_report(
    result: Path,
    dataroot: str,
    version: str,
    split: str,
    out_dir: Path,
    strict: bool = False,
    baseline: bool = False,
    images: bool | None = None,
    against: Path | None = None,
) -> dict[str, Any]:
    """Tracking and forecasting metrics of a results file, and its report, to ``out_dir``.

    Args:
        strict: every scene of the split must be there.
        baseline: set what tracking by detection makes of the same boxes beside it.
        images: the report shows the cameras; None: where the results are small and they are there.
        against: other results, drawn beside these.

    Returns:
        the metrics summary.

    Raises:
        UserError: a file is wrong; ``images`` without an info file.
    """
    from pftrack.evaluation.files import write_all
    from pftrack.evaluation.run import evaluate_file
    from pftrack.evaluation.text import forecasting_table, tracking_table
    from pftrack.report.render import write_report

    print(f"metrics of {result} ...", flush=True)
    evaluation = evaluate_file(result, dataroot, version, split, strict=strict)
    summary, forecasting = write_all(evaluation, out_dir)
    if evaluation.partial:
        print(evaluation.partial)
    print(tracking_table(summary))
    print()
    print(forecasting_table(forecasting))
    facts = report_facts(result, version, split)
    if baseline:
        from pftrack.baseline.run import evaluate_baselines
        from pftrack.evaluation.text import columns_table

        beside = evaluate_baselines(result, evaluation.truth, out_dir / "baseline")
        facts.baselines = {name: e.tracking.overall for name, e in beside.items()}
        print(f"\n{columns_table({'tracker': evaluation.tracking.overall, **facts.baselines})}")
    if evaluation.partial:
        facts.title += f" ({evaluation.partial})"
    before = None
    if against is not None:
        before = evaluate_file(against, dataroot, version, split, strict=strict)
    if before is not None and before.frames.sample_tokens != evaluation.frames.sample_tokens:
        raise UserError(f"{against}: has other scenes than {result}: compare results of the same")
    scenes = _scenes_with_images(evaluation, Path(dataroot), version, split, images)
    paths = write_report(evaluation, facts, out_dir, forecasting, scenes, before)
    print(f"\nmetrics in {out_dir}, report: {paths['html']}")
    return summary


def _scenes_with_images(
    evaluation: Any, dataroot: Path, version: str, split: str, wanted: bool | None
) -> dict[str, Any]:
    """The scenes whose images a report shows, by name; see :func:`evaluate_and_report`."""
    from pftrack.report.render import SMALL
    from pftrack.visualization.scenes import load_split

    if wanted is False or (wanted is None and len(evaluation.frames) > SMALL):
        return {}
    try:
        return {scene.name: scene for scene in load_split(dataroot, version, split)}
    except UserError as error:  # nothing says where the images are
        if wanted:
            raise UserError(f"--images: {error}") from error
        print(f"report without images: {error}")
        return {}


def report_facts(result: Path, version: str, split: str) -> Any:
    """What is known about a results file: from ``run.json`` beside it and the manifest."""
    from pftrack.report.content import RunFacts

    facts = RunFacts(title=result.name, result=str(result), version=version, split=split)
    run = read_run_file(result)
    if run is None:
        return facts
    job = run.job
    checkpoint = Path(job.checkpoint)
    facts.title = f"{checkpoint.resolve().parent.name}/{checkpoint.name}"
    facts.checkpoint, facts.config = job.checkpoint, job.config
    facts.published = published_metrics(job.config)
    facts.published_source = PUBLISHED_SOURCE
    facts.frames, facts.wall_seconds = run.frames, run.wall_seconds
    facts.stage_seconds, facts.devices = run.seconds, run.devices
    facts.options = {k: str(getattr(job, k)) for k in OPTIONS}
    return facts


class RunJob(msgspec.Struct, frozen=True):
    """The job of a run, as far as it is read."""

    config: Text
    checkpoint: Text
    split: Text
    precision: str
    fuse_conv_bn: bool
    compile: bool
    engine: str = "torch"


class RunFile(msgspec.Struct, frozen=True):
    """``run.json``: how a results file was made, as far as it is read."""

    job: RunJob
    result_path: Text
    data_root: Text
    version: Text
    devices: Annotated[list[str], msgspec.Meta(min_length=1)]
    frames: Annotated[int, msgspec.Meta(ge=0)]
    wall_seconds: Annotated[float, msgspec.Meta(gt=0, le=1e9)]
    seconds: Annotated[dict[str, float], msgspec.Meta(min_length=1)]
    split: Text | None = None


def read_run_file(result: Path) -> RunFile | None:
    """``run.json`` beside a results file, None when there is none for exactly this file.

    Raises:
        UserError: it is not what a run writes.
    """
    path = result.parent / RUN_FILE
    if not path.exists():
        return None
    run = read_json(path, RunFile, "how the results were made,", "delete it, it is not necessary")
    return run if Path(run.result_path).name == result.name else None


def tables_of(args: argparse.Namespace, result: Path) -> tuple[str, str, str]:
    """(dataroot, version, split) that results belong to: as given, else as ``run.json`` says.

    Args:
        args: parsed ``add_table_options``.
    """
    run = read_run_file(result)
    return (
        args.dataroot or (run.data_root if run else "data/nuscenes"),
        args.version or (run.version if run else TRAINVAL),
        args.split or ((run.split or run.job.split) if run else "val"),
    )


def published_metrics(config: str) -> dict[str, float]:
    """Published numbers (AMOTA, ...) of the tracker that a configuration describes; {} if none."""
    from pftrack.checkpoints.manifest import load_manifest
    from pftrack.config import configuration_name

    name = configuration_name(config)
    for file in load_manifest().files:
        published: dict[str, float] = {
            k: v for k, v in file.published.items() if not isinstance(v, str)
        }
        if published and file.config and configuration_name(file.config) == name:
            return published
    return {}
