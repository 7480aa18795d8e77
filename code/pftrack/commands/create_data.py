"""Make PF-Track's info files from nuScenes (make data)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pftrack.arguments import MOST_PROCESSES, Parser, whole
from pftrack.errors import UserError
from pftrack.nuscenes.versions import INFO_TAG, MINI, TEST, TRAINVAL, version_folder

VERSIONS = {
    "nuscenes-tracking": {"v1.0": TRAINVAL, TRAINVAL: TRAINVAL, MINI: MINI},
    "nuscenes-tracking-test": {"v1.0": TEST, TEST: TEST},
}


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("dataset", choices=VERSIONS, help="what to convert; -test: no annotations")
    parser.add_argument("--root-path", default="data/nuscenes", help="folder with maps/, samples/")
    parser.add_argument("--out-dir", help="where the info files go (default: the root path)")
    parser.add_argument("--extra-tag", default=INFO_TAG, help="prefix of their names")
    parser.add_argument("--version", default="v1.0", help="v1.0 (trainval or test) or v1.0-mini")
    parser.add_argument("--forecasting", action="store_true", help="add future positions")
    parser.add_argument(
        "--workers", type=whole(0, MOST_PROCESSES), default=2, help="processes that read tables"
    )
    parser.add_argument(
        "--split", help="name or file of scene names; default: the official splits, a file each"
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    versions = VERSIONS[args.dataset]
    if args.version not in versions:
        raise UserError(
            f"{args.dataset} has no version '{args.version}': use {' or '.join(versions)}"
        )
    version = versions[args.version]
    version_folder(args.root_path, version)
    from pftrack.conversion.run import convert_folder
    from pftrack.locks import locked

    out_dir = args.out_dir or args.root_path
    with locked(Path(out_dir)):
        convert_folder(
            args.root_path,
            version,
            out_dir,
            args.extra_tag,
            forecasting=args.forecasting,
            workers=args.workers,
            split=args.split,
        )
    return 0
