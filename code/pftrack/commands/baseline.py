"""Tracking by detection, without learning, over a results file: tracks and their metrics."""

from __future__ import annotations

from pathlib import Path

from pftrack.arguments import Parser
from pftrack.baseline import METHODS
from pftrack.commands.data_arguments import add_table_options
from pftrack.errors import UserError


def main() -> int:
    parser = Parser(description=__doc__)
    parser.add_argument(
        "result",
        type=Path,
        help="detections in nuScenes' format, or tracks, whose ids are left out",
    )
    parser.add_argument(
        "--method",
        choices=[*METHODS, "both"],
        default="both",
        help="velocity: greedy, as CenterPoint; kalman: Kalman filter and generalised IoU; both",
    )
    add_table_options(parser)
    parser.add_argument("--out", type=Path, help="folder; default: baseline/ beside RESULT")
    args = parser.parse_args()
    if not args.result.is_file():
        raise UserError(f"no results file {args.result}: 'make detect' and 'make eval' write one")
    from pftrack.baseline.run import evaluate_baselines
    from pftrack.commands.shared import tables_of
    from pftrack.evaluation.config import load_tracking_config
    from pftrack.evaluation.ground_truth import load_ground_truth
    from pftrack.evaluation.text import columns_table

    dataroot, version, split = tables_of(args, args.result)
    truth = load_ground_truth(dataroot, version, split, load_tracking_config().class_names)
    methods = METHODS if args.method == "both" else (args.method,)
    out = args.out or args.result.resolve().parent / "baseline"
    evaluations = evaluate_baselines(args.result, truth, out, methods)
    print(columns_table({name: e.tracking.overall for name, e in evaluations.items()}))
    first = next(iter(evaluations.values()))
    if first.partial:
        print(first.partial)
    print(f"\ntracks and metrics in {out}")
    return 0
