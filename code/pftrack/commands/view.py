"""Open a results file in Rerun: cameras, boxes, lidar and tracks over time."""

from __future__ import annotations

from pftrack.arguments import Parser
from pftrack.commands.make_video import add_scene_options, load_layers


def main() -> int:
    parser = Parser(description=__doc__)
    add_scene_options(parser)
    parser.add_argument("--no-truth", action="store_true", help="without the annotations")
    args = parser.parse_args()

    from pftrack.visualization.rerun_stream import open_viewer, require_rerun

    require_rerun()
    scenes, layers = load_layers(args)
    boxes = [layer.boxes for layer in layers]
    open_viewer(scenes, boxes, args.min_score, not args.no_truth, args.frames)
    print(f"{len(scenes)} scene(s) sent to Rerun's viewer")
    return 0
