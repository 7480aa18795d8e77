"""Two or more tracking results files side by side: a table, and a page with what differs where."""

from __future__ import annotations

import argparse
from pathlib import Path

from pftrack.arguments import Parser, whole
from pftrack.commands.data_arguments import add_strict_option, add_table_options
from pftrack.errors import UserError

MOST_FILES = 8  # colours of the page


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        metavar="RESULT",
        help="the first is what others differ from",
    )
    add_table_options(parser, "the first RESULT")
    parser.add_argument("--out", type=Path, help="folder; default: compare/ beside the last RESULT")
    parser.add_argument(
        "--draws", type=whole(1, 100_000), default=1000, help="of scenes, for the intervals (1000)"
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="of the draws (0)")
    add_strict_option(parser)
    args = parser.parse_args()
    if not 2 <= len(args.results) <= MOST_FILES:
        raise UserError(
            f"{len(args.results)} results file(s): a comparison takes 2 to {MOST_FILES}, e.g. "
            'RESULTS="work_dirs/a/results_nusc.json work_dirs/b/results_nusc.json"'
        )
    for result in args.results:
        if not result.is_file():
            raise UserError(f"no results file {result}")
    return args


def main() -> int:
    args = parse_args()
    from tqdm import tqdm

    from pftrack.commands.shared import tables_of
    from pftrack.evaluation.comparison import compare, comparison_table, short_names
    from pftrack.evaluation.config import load_tracking_config
    from pftrack.evaluation.ground_truth import load_ground_truth
    from pftrack.evaluation.run import evaluate_results
    from pftrack.report.compare_page import write_comparison

    names = short_names(args.results)
    dataroot, version, split = tables_of(args, args.results[0])
    config = load_tracking_config()
    truth = load_ground_truth(dataroot, version, split, config.class_names)
    evaluations = [
        evaluate_results(result, truth, config, strict=args.strict_split)
        for result in tqdm(args.results, desc="metrics", unit="file", delay=2, leave=False)
    ]
    content = compare(evaluations, names, args.draws, args.seed)
    print(comparison_table(content))
    out = args.out or args.results[-1].resolve().parent / "compare"
    title = f"{' · '.join(names)} on {version}, {split}"
    results = [result.resolve() for result in args.results]
    paths = write_comparison(content, evaluations, results, title, out)
    print(f"\npage: {paths['html']}")
    return 0
