"""Open a results file in Rerun: cameras, boxes, lidar and tracks over time."""

from __future__ import annotations

from pftrack.arguments import Parser, whole
from pftrack.commands.make_video import add_scene_options, load_layers


def main() -> int:
    parser = Parser(description=__doc__)
    add_scene_options(parser)
    parser.add_argument("--no-truth", action="store_true", help="without the annotations")
    parser.add_argument(
        "--browser", action="store_true", help="serve it to a browser, as where there is no screen"
    )
    parser.add_argument(
        "--port",
        type=whole(1, 65534),
        default=9090,
        help="of the browser's page, on 127.0.0.1 (default 9090); the next one is needed, too",
    )
    args = parser.parse_args()

    from pftrack.visualization import rerun_stream

    rerun_stream.require_rerun()
    scenes, layers = load_layers(args)
    shown = (scenes, [layer.boxes for layer in layers], args.min_score, not args.no_truth)
    if args.browser or not rerun_stream.has_screen():
        rerun_stream.serve_viewer(*shown, args.frames, args.port)
        return 0
    rerun_stream.open_viewer(*shown, args.frames)
    print(f"{len(scenes)} scene(s) sent to Rerun's viewer")
    return 0
