"""Tracking inference with a configuration and a checkpoint, and its evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pftrack.arguments import Parser
from pftrack.commands.old_options import accept_old_options
from pftrack.errors import UserError


def main() -> int:
    from pftrack.commands import shared as commands

    parser = Parser(description=__doc__)
    parser.add_argument("config", help="configuration file")
    parser.add_argument("checkpoint", help="absolute, relative, or below checkpoints/")
    parser.add_argument(
        "--jsonfile_prefix", "--work-dir", type=Path, help="folder for results_nusc.json"
    )
    parser.add_argument("--eval", choices=["bbox", "track"], help="compute the metrics")
    parser.add_argument("--format-only", action="store_true", help="only the results file")
    parser.add_argument("--out", type=Path, metavar="F.pkl", help="arrays of every frame as well")
    commands.add_job_options(parser)
    commands.add_streams_option(parser)
    accept_old_options(parser, tracking=True)
    args = parser.parse_args()
    if args.out is not None and args.out.suffix not in (".pkl", ".pickle"):
        raise UserError(f"--out {args.out}: the name must end in .pkl")
    if args.eval and args.format_only:
        raise UserError("--eval and --format-only exclude each other")
    if not (args.eval or args.format_only or args.out):
        raise UserError("nothing to do: give --eval bbox, --format-only or --out F.pkl")

    from pftrack.checkpoints.reading import find_checkpoint
    from pftrack.nuscenes.versions import version_folder

    checkpoint = find_checkpoint(args.checkpoint)
    config = commands.find_config(args.config, checkpoint)
    folder = args.jsonfile_prefix or commands.default_work_dir(checkpoint, "test")
    check = version_folder if args.eval and args.split != "test" else None
    job = replace(commands.make_job(args, config, checkpoint), streams=args.streams)
    run = commands.run_job(job, args, folder, check)
    print(f"{run.frames} frames of {run.scenes} scenes: {run.result_path}")
    if args.out is not None:
        from pftrack.tracking.frame_arrays import write_pickle

        write_pickle(run.result_path, args.out)
        print(f"arrays of every frame: {args.out}")
    if args.eval:
        commands.evaluate_and_report(
            run.result_path, run.data_root, run.version, run.split, folder, args.strict_split
        )
    return commands.status_of(run, evaluated=bool(args.eval))
