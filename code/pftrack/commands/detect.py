"""Detection mAP and NDS of a checkpoint, by the official devkit."""

from __future__ import annotations

from pftrack.errors import UserError


def main() -> int:
    from pftrack.commands import shared as commands

    args = commands.checkpoint_parser(__doc__, "detect").parse_args()
    if args.split == "test":
        raise UserError("the test split has no annotations: use --split val")

    from pftrack.evaluation.devkit import check_data, check_split, evaluate_detection_devkit
    from pftrack.evaluation.text import detection_table
    from pftrack.nuscenes.versions import official_split

    check_split(args.split)
    run, work_dir = commands.run_checkpoint(args, "detect", check_data, "detection")
    split = official_split(run.version, run.split)
    summary = evaluate_detection_devkit(
        run.result_path, run.data_root, run.version, split, work_dir
    )
    print(detection_table(summary))
    print(f"\nmetrics in {work_dir}")
    return commands.status_of(run)
