"""Several scenes tracked at once against one after the other: seconds a frame, change of boxes.

    python tools/bench.py streams [--configs C ...] [--checkpoint CKPT] [--streams 4] [--rounds 5]

Both ways take turns in one process on the same frames, decoded before; medians of the rounds, after
one to warm up. Weights and thresholds without a checkpoint: as for the benchmark ``track``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from laboratory.measuring.record import CPU, WALL, Row, Stopwatch
from pftrack.arguments import Parser

CONFIGS = ("projects/configs/tracking/demo/f3_demo.py",)


def run(argv: list[str]) -> list[Row]:
    """Entry of ``tools/bench.py streams``."""
    parser = Parser(prog="bench.py streams", description=__doc__)
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS))
    parser.add_argument("--checkpoint")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5, help="frames of each stream (5)")
    parser.add_argument("--tracks", type=int, default=50, help="live tracks aimed at")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for config in args.configs:
            rows += _run_config(config, Path(folder), args)
    return rows


def _run_config(config: str, folder: Path, args: argparse.Namespace) -> list[Row]:
    from laboratory.benchmarks.track import aim_at_tracks, make_frames
    from laboratory.parity.weights import fill
    from pftrack.datasets.frames import prepare_frame
    from pftrack.tracking.api import load_tracker
    from pftrack.tracking.streams import step_together

    tracker = load_tracker(config, args.checkpoint, device=args.device, dtype=args.precision)
    if args.checkpoint is None:
        fill(tracker.model)
    rounds, count = args.rounds + 1, args.streams
    frames = make_frames(folder, rounds * count)
    aim_at_tracks(tracker, frames[0], args.tracks)
    images = tracker.images
    arrays = [
        prepare_frame(f, images.augmentation, images.size_divisor, mean=images.mean) for f in frames
    ]
    alone, together = ([tracker.another_stream() for _ in range(count)] for _ in range(2))

    def one_by_one(now: range) -> list[Any]:
        return [t.step_boxes(frames[i], arrays[i]) for t, i in zip(alone, now, strict=True)]

    def at_once(now: range) -> list[Any]:
        return step_together(together, [frames[i] for i in now], [arrays[i] for i in now])

    spent: dict[str, list[dict[str, float]]] = {"1 stream": [], f"{count} streams": []}
    distance = 0.0
    for r in range(rounds):
        # Stream s sees every count-th frame, so that the car drives on in each.
        now = range(r * count, (r + 1) * count)
        found = []
        for step, costs in zip((one_by_one, at_once), spent.values(), strict=True):
            watch = Stopwatch()
            found.append(step(now))
            costs.append(watch.seconds())
        distance = max(distance, *map(_distance, *found))
    print(f"\n{config}, {args.precision}, {len(found[0][0])} boxes in the last frame")
    rows = []
    for name, costs in spent.items():
        wall, cpu = (median(cost[clock] for cost in costs[1:]) / count for clock in (WALL, CPU))
        print(f"  {name:12}{1 / wall:8.2f} frames/s{wall:9.3f} s a frame{cpu:9.3f} CPU s a frame")
        numbers = {"frames/s": 1 / wall, WALL: wall, CPU: cpu}
        rows.append(Row(f"{Path(config).stem} {args.precision} {name}", numbers))
    print(f"  boxes of the same ids differ by at most {distance:.1e} m")
    rows[-1].numbers["distance m"] = distance
    return rows


def _distance(one: Any, other: Any) -> float:
    """Largest distance of centres by id, m; infinite where the ids differ."""
    first, second = (dict(zip(boxes.ids, boxes.center, strict=True)) for boxes in (one, other))
    if first.keys() != second.keys():
        return float("inf")
    return max((float(np.abs(first[i] - second[i]).max()) for i in first), default=0.0)
