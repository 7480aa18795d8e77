"""Import recordings of your own, or of another data set's format, as tables and info files."""

from __future__ import annotations

import argparse
from pathlib import Path

from pftrack.arguments import Parser, whole

FORMATS = {
    "folder": "pftrack.data.folder",
    "kitti": "pftrack.data.kitti",
    "argoverse": "pftrack.data.argoverse",
}


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument(
        "format",
        choices=FORMATS,
        help="folder: images, calibration.json, poses.csv; kitti: KITTI's tracking benchmark; "
        "argoverse: Argoverse 2's sensor data set",
    )
    parser.add_argument("source", type=Path, help="folder of the recordings")
    parser.add_argument("out", type=Path, help="folder of the dataset to make")
    parser.add_argument(
        "--val", nargs="+", metavar="NAME", help="recordings to evaluate on (the last fifth)"
    )
    parser.add_argument(
        "--every",
        type=whole(1, 1000),
        default=1,
        metavar="N",
        help="take every Nth frame (key frames: 2 Hz)",
    )
    parser.add_argument("--copy", action="store_true", help="copy the images instead of linking")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    import importlib

    from tqdm import tqdm

    from pftrack.data import InfoBuilder

    reader = importlib.import_module(FORMATS[args.format])
    builder = InfoBuilder()
    for recording in tqdm(
        reader.read_recordings(args.source, args.every), "read", unit="recording", leave=False
    ):
        builder.add(recording)
    names = [recording.name for recording in builder.recordings]
    val = args.val or names[-max(1, len(names) // 5) :]
    builder.write(args.out, val, args.copy)
    print(f"{len(names)} recordings, evaluated on {', '.join(val)}; use it by NUSCENES={args.out}")
    return 0
