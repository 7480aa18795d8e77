"""Detection mAP and NDS of a checkpoint, by the official devkit."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import projects.tracking_plugin  # noqa: F401, compatibility first
from projects.tracking_plugin.errors import UserError, run_cli


def main() -> int:
    from projects.tracking_plugin.inference import commands

    args = commands.checkpoint_parser(__doc__, "detect").parse_args()
    if args.split == "test":
        raise UserError("the test split has no annotations: use --split val")

    from projects.tracking_plugin.datasets.splits import SPLITS
    from projects.tracking_plugin.evaluation.devkit import evaluate_detection_devkit
    from projects.tracking_plugin.evaluation.text import detection_table

    run, work_dir = commands.run_checkpoint(args, "detect", "detection")
    split = SPLITS[run.version][args.split]
    summary = evaluate_detection_devkit(
        run.result_path, run.data_root, run.version, split, work_dir
    )
    print(detection_table(summary))
    print(f"\nmetrics in {work_dir}")
    return 0


if __name__ == "__main__":
    run_cli(main)
