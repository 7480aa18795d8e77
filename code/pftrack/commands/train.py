"""Train a configuration: one process, on the CPU or one GPU (dist_train.sh starts several).

python tools/train.py CONFIG [a.b=c ...] [--work-dir DIR] [--resume-from F | --auto-resume]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pftrack.arguments import Parser, whole
from pftrack.commands.data_arguments import add_data_options
from pftrack.commands.old_options import accept_old_options
from pftrack.devices import KINDS
from pftrack.errors import UserError
from pftrack.training import launch


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument("config", type=Path, help="configuration file")
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="changes of the config")
    parser.add_argument("--work-dir", type=Path, help="results (work_dirs/<config name>)")
    parser.add_argument("--resume-from", type=Path, help="continue this checkpoint")
    parser.add_argument(
        "--auto-resume", action="store_true", help="continue the newest checkpoint of the work dir"
    )
    parser.add_argument(
        "--load-from",
        default=os.environ.get("LOAD_FROM") or None,
        help="weights to start from; 'none': random ones (variable LOAD_FROM)",
    )
    parser.add_argument("--seed", type=whole(0), help="replaces the config's (0)")
    parser.add_argument("--deterministic", action="store_true", help="deterministic cuDNN")
    parser.add_argument("--device", choices=KINDS, default="auto")
    parser.add_argument("--no-validate", action="store_true", help="leave the evaluations out")
    add_data_options(parser)
    parser.add_argument(
        "--split", help="to train on: name or file of scene names; default: the config's"
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the plan")
    parser.add_argument(
        "--cfg-options", "--options", nargs="+", default=[], metavar="a.b=c", help="as a.b=c"
    )
    accept_old_options(parser)
    return parser.parse_intermixed_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Check what needs no torch, then train. Returns the exit status."""
    launch.end_with_launcher()
    if launch.is_over():  # this is the restart after a mistake
        return 2
    args = parse(arguments)
    if not args.config.is_file():
        raise UserError(
            f"no config file '{args.config}' (in {Path.cwd()}): see projects/configs/tracking/"
        )
    overrides = (*args.overrides, *args.cfg_options)
    for override in overrides:
        if "=" not in override:
            raise UserError(f"'{override}' is not of the form a.b=c (a change of the config)")
    if args.resume_from is not None and not args.resume_from.is_file():
        raise UserError(f"no checkpoint '{args.resume_from}' to resume from")

    from pftrack.datasets.build import data_options
    from pftrack.training.run import Request, run_training

    overrides = data_options(args.config, args.nuscenes, args.version, overrides, args.split)
    request = Request(
        config_file=args.config,
        overrides=overrides,
        work_dir=args.work_dir,
        device=args.device,
        resume_from=args.resume_from,
        auto_resume=args.auto_resume,
        restarted_since=launch.restarted_since(),
        load_from=args.load_from,
        seed=args.seed,
        deterministic=args.deterministic,
        validate=not args.no_validate,
        dry_run=args.dry_run,
    )
    try:
        status = run_training(request)
    except Exception as error:
        launch.end_worker(error)
        raise
    launch.leave_worker(status)
    return status
