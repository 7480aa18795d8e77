"""Frames per second of ``Tracker.step`` by stage, and what each speed option changes.

    python tools/bench.py track [--configs C ...] [--checkpoint CKPT] [--frames 4] [--options ...]

Six pictures of 1600x900 are decoded from JPEG files for every frame. Without a checkpoint the
weights are those of the golden files' formula, and the birth threshold is chosen so that about
``--tracks`` objects are born in the first frame.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from laboratory.measuring.record import Row
from pftrack.arguments import Parser

CONFIGS = (
    "projects/configs/tracking/petr/f3_q500_800x320.py",
    "projects/configs/tracking/petr/f3_q500_1600x640.py",
)
OPTIONS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "unfused": {"fuse_conv_bn": False},
    "bf16": {"dtype": "bf16"},
    "fp16": {"dtype": "fp16"},
    "compile": {"compile": True},
}
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
STAGES = ("decode", "backbone", "head", "reasoning", "life cycle")


@dataclass
class Measurement:
    """One configuration with one option.

    Attributes:
        seconds: per frame, by stage.  total: per frame, all of ``Tracker.step``.
        tracks: mean number of live tracks.
        centers: [frames, Q, 3] box centres of the detection queries, m.  scores: [frames, Q].
    """

    seconds: dict[str, float]
    total: float
    tracks: float
    centers: np.ndarray
    scores: np.ndarray


def run(argv: list[str]) -> list[Row]:
    """Entry of ``tools/bench.py track``."""
    parser = Parser(prog="bench.py track", description=__doc__)
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS))
    parser.add_argument("--checkpoint")
    parser.add_argument("--frames", type=int, default=4, help="timed, after one to warm up")
    parser.add_argument("--tracks", type=int, default=100, help="live tracks aimed at")
    parser.add_argument(
        "--options", nargs="+", choices=OPTIONS, default=["fp32", "unfused", "bf16"]
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: CPU seconds of all threads (wall)"
    )
    args = parser.parse_args(argv)

    import torch

    print(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads", end=", ")
    print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU", end=", ")
    print(f"{args.clock} time")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        frames = make_frames(Path(folder), args.frames + 1)
        for config in args.configs:
            rows += _run_config(config, frames, args)
    return rows


def _run_config(config: str, frames: list[Any], args: argparse.Namespace) -> list[Row]:
    from laboratory.parity.weights import fill
    from pftrack.errors import UserError
    from pftrack.tracking.api import load_tracker

    print(f"\n{config}\n{'':10}" + "".join(f"{s:>12}" for s in STAGES), end="")
    print(f"{'frame':>10}{'frames/s':>10}{'tracks':>8}   largest change of boxes")
    plain = load_tracker(config, args.checkpoint, device=args.device, fuse_conv_bn=False)
    if args.checkpoint is None:
        fill(plain.model)
    weights = plain.model.state_dict()
    reference: Measurement | None = None
    rows = []
    for option in args.options:
        try:
            tracker = load_tracker(
                config, {"state_dict": weights}, device=args.device, **OPTIONS[option]
            )
        except UserError as error:
            print(f"{option:10}{error}")
            continue
        aim_at_tracks(tracker, frames[0], args.tracks)
        measured = measure(tracker, frames, CLOCKS[args.clock])
        reference = reference or measured
        _print_row(option, measured, reference)
        spent = {"frame": measured.total, **measured.seconds}
        numbers = {f"{stage} {args.clock} ms": 1e3 * s for stage, s in spent.items()}
        rows.append(Row(f"{Path(config).stem} {option}", numbers))
    return rows


def make_frames(folder: Path, count: int) -> list[Any]:
    """Frames of a car that drives straight at 5 m/s, with smooth random pictures."""
    import cv2

    from laboratory.demo_data.rig import build_cameras, build_lidar
    from pftrack.nuscenes.facts import KEY_FRAME_SECONDS
    from pftrack.structures import Frame

    rng = np.random.default_rng(0)
    cameras, lidar = build_cameras(rng, (1600, 900)), build_lidar(rng)

    def pose(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rotation, translation
        return matrix

    frames = []
    for f in range(count):
        paths = []
        for camera in range(len(cameras)):
            coarse = rng.integers(0, 255, (45, 80, 3), np.uint8)
            picture = cv2.resize(coarse, (1600, 900), interpolation=cv2.INTER_CUBIC)
            paths.append(folder / f"{f}_{camera}.jpg")
            cv2.imwrite(str(paths[-1]), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
        ego = pose(np.eye(3), np.array([600.0 + 2.5 * f, 1000.0, 0.0]))
        frames.append(
            Frame(
                images=paths,
                intrinsics=np.stack([c.intrinsic for c in cameras]),
                sensor2ego=np.stack([pose(c.rotation, c.translation) for c in cameras]),
                camera_ego2global=np.stack([ego] * len(cameras)),
                lidar2ego=pose(lidar.rotation, lidar.translation),
                ego2global=ego,
                timestamp=KEY_FRAME_SECONDS * f,
                scene_id="bench",
                sample_token=str(f),
            )
        )
    return frames


def aim_at_tracks(tracker: Any, frame: Any, tracks: int) -> None:
    """Set the thresholds so that about ``tracks`` objects are born in the first frame."""
    everything = replace(tracker.thresholds, output_threshold=-1.0, score_threshold=-1.0)
    output, _ = tracker.model.forward_track(tracker.batch(frame), thresholds=everything)
    if len(output.scores):
        level = float(output.scores[min(tracks, len(output.scores)) - 1])
        tracker.thresholds = replace(
            everything, output_threshold=level, score_threshold=level, record_threshold=level
        )


def measure(tracker: Any, frames: list[Any], now: Callable[[], float]) -> Measurement:
    """Track the frames; the first one warms up and is not counted."""
    from pftrack.models.acceleration import precision_context
    from pftrack.tracking.stage_clock import StageClock

    clock = StageClock(tracker.device.type == "cuda", now)
    tracker.stage = clock
    total, live = 0.0, []
    for i, frame in enumerate(frames):
        start = clock.now()
        tracker.step(frame)
        total += clock.now() - start
        tracks = tracker.memory.tracks
        live.append(0 if tracks is None else len(tracks.obj_idxes))
        if i == 0:
            total = 0.0
            clock.take()
    count = max(len(frames) - 1, 1)
    seconds = {stage: spent / count for stage, spent in clock.take().items()}
    boxes, scores = [], []
    for frame in frames[:2]:
        with precision_context(tracker.precision, tracker.device):
            center, score = _detection_queries(tracker.model, tracker.batch(frame))
        boxes.append(center)
        scores.append(score)
    return Measurement(
        seconds, total / count, float(np.mean(live)), np.stack(boxes), np.stack(scores)
    )


def _detection_queries(model: Any, batch: Any) -> tuple[np.ndarray, np.ndarray]:
    """Centres [Q, 3] and best scores [Q] of the head's last layer, no memory involved."""
    import torch

    with torch.no_grad():
        feats = model.extract_feats(batch.img)
        output = model.detect(feats, batch, model.with_detection_queries(None))
    code = output.all_bbox_preds[-1, 0].float().cpu().numpy()
    scores = output.all_cls_scores[-1, 0].float().sigmoid().amax(-1).cpu().numpy()
    return code[:, [0, 1, 4]], scores


def _print_row(option: str, row: Measurement, reference: Measurement) -> None:
    stages = "".join(f"{1e3 * row.seconds.get(s, 0.0):9.1f} ms" for s in STAGES)
    print(
        f"{option:10}{stages}{1e3 * row.total:7.0f} ms{1 / row.total:10.2f}{row.tracks:8.0f}",
        end="",
    )
    if row is reference:
        print("   -", flush=True)
        return
    shift = np.linalg.norm(row.centers - reference.centers, axis=-1)
    print(
        f"   centre {shift.max():.1e} m (mean {shift.mean():.1e}), "
        f"score {np.abs(row.scores - reference.scores).max():.1e}",
        flush=True,
    )
