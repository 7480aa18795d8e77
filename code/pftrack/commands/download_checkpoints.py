"""Download, verify and unpack the published checkpoints and info files (make checkpoints)."""

from __future__ import annotations

import os
from pathlib import Path

from pftrack.arguments import Parser
from pftrack.checkpoints.manifest import MANIFEST, load_manifest
from pftrack.paths import CHECKPOINTS_DIR


def main() -> int:
    parser = Parser(description=__doc__)
    parser.add_argument(
        "--only",
        nargs="*",
        default=[],
        metavar="NAME",
        help="names, paths, archives or kinds (tracker, detector, infos...); default: everything",
    )
    parser.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="URL_OR_FOLDER",
        help="where to look instead of the authors' address; may be repeated, tried in order "
        "(default: PFTRACK_MIRRORS, separated by commas)",
    )
    parser.add_argument("--to", type=Path, default=CHECKPOINTS_DIR, help="folder to fill")
    parser.add_argument("--manifest", type=Path, default=MANIFEST)
    parser.add_argument("--keep-archives", action="store_true", help="keep the zip files")
    parser.add_argument("--list", action="store_true", help="only list what there is")
    args = parser.parse_args()

    manifest = load_manifest(args.manifest)
    only = [word for group in args.only for word in group.split(",") if word]
    if args.list:
        for file in manifest.select(only):
            print(f"{file.name:22} {file.kind:9} {file.archive:20} -> checkpoints/{file.path}")
        return 0

    from pftrack.checkpoints.download import Store

    mirrors = args.mirror or [m for m in os.environ.get("PFTRACK_MIRRORS", "").split(",") if m]
    print(f"licence: {manifest.license}")
    store = Store(manifest, args.to, mirrors, keep_archives=args.keep_archives)
    for outcome in store.get(only):
        size = sum(path.stat().st_size for path in outcome.paths) / 1e6
        print(f"{outcome.state:9} {outcome.file.path:42} {size:9.1f} MB")
    return 0
