"""Report (HTML, JSON, PNG) of an existing tracking results file."""

from __future__ import annotations

import argparse
from pathlib import Path

from pftrack.commands.data_arguments import add_strict_option
from pftrack.errors import UserError
from pftrack.nuscenes.versions import TRAINVAL


def main() -> int:
    from pftrack.commands import shared as commands

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path, help="results file in the nuScenes tracking format")
    parser.add_argument(
        "--dataroot", help="nuScenes' folder; default: from run.json, data/nuscenes"
    )
    parser.add_argument("--version", help="default: from run.json beside RESULT, v1.0-trainval")
    parser.add_argument("--split", help="default: from run.json beside RESULT, val")
    parser.add_argument("--out", type=Path, help="folder; default: beside RESULT")
    add_strict_option(parser)
    args = parser.parse_args()
    if not args.result.is_file():
        raise UserError(f"no results file {args.result}")

    run = commands.read_run_file(args.result)
    commands.evaluate_and_report(
        args.result,
        args.dataroot or (run.data_root if run else "data/nuscenes"),
        args.version or (run.version if run else TRAINVAL),
        args.split or (run.job.split if run else "val"),
        args.out or args.result.resolve().parent,
        args.strict_split,
    )
    return 0
