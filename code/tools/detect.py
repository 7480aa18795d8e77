"""Detection mAP and NDS of a checkpoint, by the official devkit."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse

import projects.tracking_plugin  # noqa: F401, compatibility first
from projects.tracking_plugin.errors import UserError, run_cli


def main() -> int:
    from projects.tracking_plugin.inference import commands

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="absolute, relative, or below checkpoints/")
    parser.add_argument("--config", help="default: the one the checkpoint belongs to")
    parser.add_argument("--work-dir", type=Path, help="default: work_dirs/detect_<checkpoint>")
    commands.add_job_options(parser)
    args = parser.parse_args()
    if args.split == "test":
        raise UserError("the test split has no annotations: use --split val")

    from projects.tracking_plugin.datasets.splits import SPLITS
    from projects.tracking_plugin.evaluation.devkit import evaluate_detection_devkit
    from projects.tracking_plugin.evaluation.text import detection_table
    from projects.tracking_plugin.models.checkpoint_io import find_checkpoint

    checkpoint = find_checkpoint(args.checkpoint)
    config = commands.find_config(args.config, checkpoint)
    work_dir = args.work_dir or commands.default_work_dir(checkpoint, "detect")
    print(f"configuration {config}, results in {work_dir}", flush=True)
    job = commands.make_job(args, config, checkpoint, "detection")
    run = commands.run_job(job, args, work_dir)
    split = SPLITS[run.version][args.split]
    summary = evaluate_detection_devkit(
        run.result_path, run.data_root, run.version, split, work_dir
    )
    print(detection_table(summary))
    print(f"\nmetrics in {work_dir}")
    return 0


if __name__ == "__main__":
    run_cli(main)
