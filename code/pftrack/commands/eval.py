"""Track a split with a checkpoint, compute tracking and forecasting metrics, write the report."""

from __future__ import annotations


def main() -> int:
    from pftrack.commands import shared as commands
    from pftrack.nuscenes.versions import version_folder

    parser = commands.checkpoint_parser(__doc__, "eval")
    parser.add_argument(
        "--engine",
        choices=["torch", "static", "onnx"],
        default="torch",
        help="what runs the network: PyTorch, PyTorch's step of fixed shapes, or ONNX Runtime "
        "(exports the checkpoint first); which program computes the metrics is 'evaluate --engine'",
    )
    parser.add_argument(
        "--baseline",
        action="store_true",
        help="set tracking by detection over the tracker's own boxes beside it",
    )
    commands.add_streams_option(parser)
    args = parser.parse_args()
    tables = None if args.split == "test" else version_folder
    run, work_dir = commands.run_checkpoint(
        args, "eval", tables, engine=args.engine, streams=args.streams
    )
    if args.split == "test":
        print(f"the test split has no annotations: results to submit are in {run.result_path}")
        return commands.status_of(run)
    commands.evaluate_and_report(
        run.result_path,
        run.data_root,
        run.version,
        run.split,
        work_dir,
        args.strict_split,
        args.baseline,
    )
    return commands.status_of(run)
