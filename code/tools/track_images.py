"""Track a folder of images with an export alone, and draw a video (docs/deployment.md)."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np

from pftrack.arguments import Parser
from pftrack.deployment import OnnxTracker
from pftrack.errors import UserError, run_cli
from pftrack.frames import Frame
from pftrack.geometry import BOX_EDGES, invert_pose


def draw(image, tracks, global2camera, intrinsic):
    """The boxes in front of a camera, as lines, with their ids."""
    for corners, name in zip(tracks.corners(global2camera), tracks.ids, strict=True):
        if corners[:, 2].min() < 0.5:
            continue
        pixels = (corners / corners[:, 2:]) @ intrinsic.T
        points = [tuple(int(x) for x in p) for p in pixels[:, :2].clip(-9999, 9999)]
        for a, b in BOX_EDGES:
            cv2.line(image, points[a], points[b], (0, 200, 255), 2)
        cv2.putText(image, name, points[1], cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 200, 255))


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("deployment", help="folder of an export")
    parser.add_argument("images", type=Path, help="folder with calibration.json")
    parser.add_argument("out", help="video, .mp4")
    args = parser.parse_args()
    try:
        rig = json.loads((args.images / "calibration.json").read_text(encoding="utf-8"))
        intrinsics, sensor2ego = np.array(rig["intrinsics"]), np.array(rig["sensor2ego"])
        lidar2ego, moments = np.array(rig["lidar2ego"]), rig["frames"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{args.images}/calibration.json: {error!r}: see docs/deployment.md"
        ) from None
    tracker, video = OnnxTracker(args.deployment), None
    for moment in moments:
        ego, paths = np.array(moment["ego2global"]), [args.images / f for f in moment["images"]]
        poses = np.stack([ego] * len(paths))  # all cameras expose at once
        frame = Frame(paths, intrinsics, sensor2ego, poses, lidar2ego, ego, moment["timestamp"])
        tracks, image = tracker.step_boxes(frame), cv2.imread(str(paths[0]))
        draw(image, tracks, invert_pose(ego @ sensor2ego[0]), intrinsics[0])
        size = image.shape[1], image.shape[0]
        video = video or cv2.VideoWriter(args.out, cv2.VideoWriter.fourcc(*"mp4v"), 2, size)
        video.write(image)
        print(f"{moment['timestamp']:.1f} s: {len(tracks)} tracks", flush=True)


if __name__ == "__main__":
    run_cli(main)
