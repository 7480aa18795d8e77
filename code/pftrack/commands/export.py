"""Export a checkpoint as one static graph, for ONNX Runtime and other compilers or for PyTorch."""

from __future__ import annotations

from pathlib import Path

from pftrack.arguments import Parser, whole


def main() -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", help="absolute, relative, or below checkpoints/")
    parser.add_argument("--format", choices=["onnx", "torch"], default="onnx")
    parser.add_argument("--config", help="default: the one the checkpoint belongs to")
    parser.add_argument("--out", type=Path, help="folder (work_dirs/deploy_<checkpoint>)")
    parser.add_argument("--slots", type=whole(1), default=300, help="for live tracks (300)")
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="fp32")
    parser.add_argument("--cameras", type=whole(1, 100), default=6, help="images of a frame (6)")
    args = parser.parse_args()

    from pftrack.checkpoints.reading import find_checkpoint
    from pftrack.commands import shared as commands
    from pftrack.deployment.export import export_tracker

    checkpoint = find_checkpoint(args.checkpoint)
    config = commands.find_config(args.config, checkpoint)
    out = args.out or commands.default_work_dir(checkpoint, "deploy")
    print(f"configuration {config}, exporting to {out} (minutes for a large network)", flush=True)
    deployment = export_tracker(
        config, checkpoint, out, args.format, args.slots, args.precision, cameras=args.cameras
    )
    largest = deployment.differences
    print(
        f"{out / deployment.graph}: differs from PyTorch by up to {largest['score']:.1e} in scores "
        f"and {largest['center']:.1e} m in centres on generated frames"
    )
    return 0
