"""Draw a results file as videos: all cameras and the bird's-eye view, scene by scene."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pftrack.arguments import Parser, real, whole
from pftrack.errors import UserError
from pftrack.nuscenes.versions import find_version

if TYPE_CHECKING:
    from pftrack.visualization.scenes import SceneFrames
    from pftrack.visualization.video import Layer

CODE = Path(__file__).resolve().parents[1]


FORMATS = ("mp4", "gif", "png", "rrd")


def add_scene_options(parser: argparse.ArgumentParser) -> None:
    """Options of commands that show scenes of a results file; :func:`load_layers` reads them."""
    parser.add_argument(
        "result", help="results file (nuScenes tracking json), or 'truth' for the annotations"
    )
    parser.add_argument("--against", metavar="RESULT", help="a second one, shown with the first")
    parser.add_argument("--dataroot", type=Path, help="nuScenes folder (default: data/nuscenes)")
    parser.add_argument("--version", help="default: the one the folder has")
    parser.add_argument("--split", default="val", help="name or file of scene names (default: val)")
    parser.add_argument("--infos", type=Path, help="info file, instead of the split's")
    parser.add_argument("--scenes", default="", help="names, separated by commas (default: all)")
    parser.add_argument("--min-score", type=real(0, 1), default=0.2, help="default 0.2")
    parser.add_argument("--frames", type=whole(1), help="stop after so many frames of each scene")


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    add_scene_options(parser)
    parser.add_argument("--out", type=Path, help="folder (default: video/ beside the results)")
    parser.add_argument(
        "--format",
        default="mp4",
        help="mp4, gif, png, rrd (a stream for Rerun), or several separated by commas",
    )
    parser.add_argument(
        "--fps", type=whole(1, 240), default=4, help="key frames per second (default 4)"
    )
    parser.add_argument("--truth", action="store_true", help="outline the annotations in white")
    parser.add_argument("--view", choices=("both", "cameras", "bird"), default="both")
    parser.add_argument(
        "--camera-width", type=whole(64, 4096), default=480, help="px (default 480)"
    )
    parser.add_argument("--no-labels", action="store_true", help="without ids and scores")
    parser.add_argument("--no-lidar", action="store_true")
    parser.add_argument(
        "--readme-picture",
        type=Path,
        metavar="FILE.gif",
        help="instead of videos, write the first scene as one small GIF (under 3 MB)",
    )
    args = parser.parse_args()
    return args


def find_dataset(args: argparse.Namespace) -> tuple[Path, str]:
    """(folder, version): as given, else the demo's beside the results, else data/nuscenes."""
    candidates = [args.dataroot] if args.dataroot else [CODE / "data" / "nuscenes"]
    if not args.dataroot:
        candidates.insert(0, Path(args.result).resolve().parent.parent / "nuscenes")
    for root in candidates:
        version = find_version(root, args.version)
        if version is not None:
            return root, version
    looked = " or ".join(str(root) for root in candidates)
    raise UserError(f"no nuScenes {args.version or 'dataset'} in {looked}: name it with --dataroot")


def load_layers(args: argparse.Namespace) -> tuple[list[SceneFrames], list[Layer]]:
    """The scenes and the boxes that parsed :func:`add_scene_options` name.

    Raises:
        UserError: a file, the dataset or a scene is not there.
    """
    names = [name for name in (args.result, args.against) if name is not None]
    for name in names:
        if name != "truth" and not Path(name).is_file():
            raise UserError(f"no results file '{name}': 'make eval' writes one")
    root, version = find_dataset(args)

    from pftrack.datasets.infos import load_infos
    from pftrack.visualization.scenes import load_scenes, load_split
    from pftrack.visualization.video import Layer

    only = [name for name in args.scenes.split(",") if name]
    if args.infos:
        scenes = load_scenes(load_infos(args.infos), root, only)
    else:
        scenes = load_split(root, version, args.split, only)
    layers = [
        Layer.from_truth(scenes) if name == "truth" else Layer.from_file(Path(name), scenes)
        for name in names
    ]
    return scenes, layers


def main() -> int:
    args = parse_args()
    formats = tuple(word for word in args.format.split(",") if word)
    if set(formats) - set(FORMATS) or not formats:
        raise UserError(f"unknown format '{args.format}': use {', '.join(FORMATS)}")
    if "rrd" in formats:
        from pftrack.visualization.rerun_stream import require_rerun

        require_rerun()  # before anything is read
    scenes, layers = load_layers(args)

    from pftrack.locks import locked
    from pftrack.visualization.mosaic import Style
    from pftrack.visualization.video import Options, make_videos, write_readme_picture

    style = Style(
        camera_width=args.camera_width // 16 * 16,
        labels=not args.no_labels,
        cameras=args.view != "bird",
        bird=args.view != "cameras",
    )
    options = Options(
        formats=formats,
        fps=args.fps,
        min_score=args.min_score,
        truth=args.truth,
        lidar=not args.no_lidar,
        max_frames=args.frames,
        style=style,
    )
    if args.readme_picture:
        write_readme_picture(args.readme_picture, scenes[0], layers, options)
        print(args.readme_picture)
        return 0
    files = [Path(name) for name in (args.result, args.against) if name not in (None, "truth")]
    out = args.out or (files[0].parent if files else Path("work_dirs")) / "video"
    with locked(out):
        for path in make_videos(scenes, layers, out, options):
            print(path)
    return 0
