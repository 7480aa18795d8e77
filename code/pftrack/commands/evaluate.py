"""Evaluate a results file: tracking and forecasting metrics, or detection metrics."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pftrack.arguments import Parser
from pftrack.commands.data_arguments import add_strict_option
from pftrack.nuscenes.versions import TRAINVAL, official_split


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("result", help="results file in the nuScenes tracking or detection format")
    parser.add_argument("--dataroot", default="data/nuscenes", help="nuScenes' folder")
    parser.add_argument("--version", default=TRAINVAL)
    parser.add_argument("--split", default="val")
    parser.add_argument(
        "--engine",
        choices=["fast", "devkit", "both"],
        default="fast",
        help="fast: this project's; devkit: the official one; both: compare them",
    )
    parser.add_argument("--config", help="metric configuration in the devkit's format")
    add_strict_option(parser)
    parser.add_argument("--out", help="folder for the metrics; default: metrics/ beside RESULT")
    return parser.parse_args()


def evaluate_detection(args: argparse.Namespace, out: Path) -> int:
    from pftrack.evaluation.devkit import evaluate_detection_devkit
    from pftrack.evaluation.text import detection_table

    split = official_split(args.version, args.split)
    summary = evaluate_detection_devkit(args.result, args.dataroot, args.version, split, out)
    print(detection_table(summary))
    print(f"\nmetrics in {out}")
    return 0


def main() -> int:
    args = parse_args()
    from tqdm import tqdm

    from pftrack.evaluation.config import load_tracking_config
    from pftrack.evaluation.devkit import check_data, differences, evaluate_tracking_devkit
    from pftrack.evaluation.files import write_all
    from pftrack.evaluation.run import evaluate_file
    from pftrack.evaluation.text import forecasting_table, tracking_table
    from pftrack.nuscenes.results_file import is_detection_file

    out = Path(args.out) if args.out else Path(args.result).resolve().parent / "metrics"
    if is_detection_file(args.result):
        return evaluate_detection(args, out)
    config = load_tracking_config(args.config)
    if args.engine != "fast":
        check_data(args.dataroot, args.version, "use --engine fast, which needs neither")
    # The fast engine always runs: it checks the file, and it takes a fraction of the devkit's time.
    count = len(config.class_names)
    with tqdm(total=count, desc="tracking metrics", unit="class", delay=2, leave=False) as bar:
        evaluation = evaluate_file(
            args.result,
            args.dataroot,
            args.version,
            args.split,
            config,
            lambda _name: bar.update(),
            # The devkit has the official rule only.
            args.strict_split or args.engine != "fast",
        )
    summary, forecasting = write_all(evaluation, out)

    worst = 0.0
    if args.engine != "fast":
        print("running the devkit; val takes about an hour ...", file=sys.stderr)
        official, details = evaluate_tracking_devkit(
            args.result,
            args.dataroot,
            args.version,
            official_split(args.version, args.split),
            out / "devkit",
            config,
        )
        found = [*differences(summary, official)]
        found += differences(evaluation.tracking.details(), details)
        worst, where = max(found)
        if args.engine == "devkit":
            summary = official
    if evaluation.partial:
        print(evaluation.partial)
    print(tracking_table(summary))
    print()
    print(forecasting_table(forecasting))
    print(f"\nmetrics in {out}")
    if args.engine == "both":
        print(f"fast and devkit: {len(found)} numbers, largest difference {worst:.3g} at {where}")
    return int(args.engine == "both" and worst > 1e-9)
