"""Report (HTML, JSON, PNG) of an existing tracking results file."""

from __future__ import annotations

import argparse
from pathlib import Path

from pftrack.arguments import Parser
from pftrack.commands.data_arguments import add_strict_option, add_table_options
from pftrack.errors import UserError


def main() -> int:
    from pftrack.commands import shared as commands

    parser = Parser(description=__doc__)
    parser.add_argument("result", type=Path, help="results file in the nuScenes tracking format")
    add_table_options(parser)
    parser.add_argument("--out", type=Path, help="folder; default: beside RESULT")
    parser.add_argument("--against", type=Path, metavar="RESULT", help="other results, drawn too")
    parser.add_argument(
        "--images",
        action=argparse.BooleanOptionalAction,
        help="camera images and lidar points in the pages; default: up to 100 frames",
    )
    add_strict_option(parser)
    args = parser.parse_args()
    for path in (args.result, args.against):
        if path is not None and not path.is_file():
            raise UserError(f"no results file {path}")

    dataroot, version, split = commands.tables_of(args, args.result)
    commands.evaluate_and_report(
        args.result,
        dataroot,
        version,
        split,
        args.out or args.result.resolve().parent,
        args.strict_split,
        images=args.images,
        against=args.against,
    )
    return 0
