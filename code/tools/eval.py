"""Track a split with a checkpoint, compute tracking and forecasting metrics, write the report."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import projects.tracking_plugin  # noqa: F401, compatibility first
from projects.tracking_plugin.errors import run_cli


def main() -> int:
    from projects.tracking_plugin.inference import commands

    args = commands.checkpoint_parser(__doc__, "eval").parse_args()
    run, work_dir = commands.run_checkpoint(args, "eval")
    if args.split == "test":
        print(f"the test split has no annotations: results to submit are in {run.result_path}")
        return 0
    commands.evaluate_and_report(run.result_path, run.data_root, run.version, args.split, work_dir)
    return 0


if __name__ == "__main__":
    run_cli(main)
