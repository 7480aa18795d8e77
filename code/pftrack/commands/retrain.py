"""Retrain the published detectors and trackers, and compare with the reference record.

Prints the plan, then trains, evaluates and compares one stage after another. Interrupted, the same
command continues.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pftrack.arguments import MOST_PROCESSES, Parser, whole
from pftrack.commands.data_arguments import add_data_options
from pftrack.devices import add_device_option
from pftrack.paths import RETRAINING_RECORD


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", help="stages or parts of their names, separated by commas")
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=Path("work_dirs/reproduce_train"),
        help="one folder a stage in it (work_dirs/reproduce_train)",
    )
    parser.add_argument(
        "--gpus",
        type=whole(0, MOST_PROCESSES),
        default=8,
        help="processes, one GPU each; 0: one on the CPU (8)",
    )
    add_device_option(parser)
    add_data_options(parser)
    parser.add_argument("--plan", action="store_true", help="print the plan, train nothing")
    parser.add_argument(
        "--measure",
        type=whole(0),
        default=0,
        metavar="N",
        help="train N steps of each stage first, where no step time is known, for the plan's hours",
    )
    parser.add_argument(
        "--record",
        type=Path,
        default=RETRAINING_RECORD,
        help="what to compare with (checkpoints/retraining.json)",
    )
    parser.add_argument(
        "--write-record", type=Path, metavar="FILE", help="write the outcome as a record"
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="a.b=c",
        help="changes of every configuration",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Retrain as requested. Returns the exit status."""
    args = parse(arguments)
    from pftrack.retraining.child import Stopped
    from pftrack.retraining.run import Request, retrain
    from pftrack.retraining.stage import Machine

    request = Request(
        root=args.work_dir,
        machine=Machine(args.gpus, args.device),
        record=args.record,
        only=tuple(word for word in (args.only or "").split(",") if word),
        overrides=tuple(args.cfg_options),
        nuscenes=args.nuscenes,
        version=args.version,
        measure=args.measure,
        plan_only=args.plan,
        write_record=args.write_record,
    )
    try:
        return retrain(request)
    except Stopped as stop:
        print(f"stopped by {stop}: the same command continues", file=sys.stderr)
        return stop.status
