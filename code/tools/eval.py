"""Track a split with a checkpoint, compute tracking and forecasting metrics, write the report."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse

import projects.tracking_plugin  # noqa: F401, compatibility first
from projects.tracking_plugin.errors import run_cli


def main() -> int:
    from projects.tracking_plugin.inference import commands

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="absolute, relative, or below checkpoints/")
    parser.add_argument("--config", help="default: the one the checkpoint belongs to")
    parser.add_argument("--work-dir", type=Path, help="default: work_dirs/eval_<checkpoint>")
    commands.add_job_options(parser)
    args = parser.parse_args()

    from projects.tracking_plugin.models.checkpoint_io import find_checkpoint

    checkpoint = find_checkpoint(args.checkpoint)
    config = commands.find_config(args.config, checkpoint)
    work_dir = args.work_dir or commands.default_work_dir(checkpoint, "eval")
    print(f"configuration {config}, results in {work_dir}", flush=True)
    run = commands.run_job(commands.make_job(args, config, checkpoint), args, work_dir)
    if args.split == "test":
        print(f"the test split has no annotations: results to submit are in {run.result_path}")
        return 0
    commands.evaluate_and_report(run.result_path, run.data_root, run.version, args.split, work_dir)
    return 0


if __name__ == "__main__":
    run_cli(main)
