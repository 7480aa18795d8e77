"""Seconds per frame and peak memory: ordinary tracker, static step, ONNX Runtime, side by side.

    python tools/bench.py deploy [--configs C ...] [--engines torch static onnx] [--tracks 300]

Every engine runs in a process of its own from the same random weights, on frames of noise, with
the given number of live tracks; they take turns, and the shortest of the repetitions counts: wall
and CPU seconds of one frame, images in memory as they are. With --profile ONNX Runtime's seconds by
operator follow. onnx-int8 is the same graph with its matrix products in eight bits (ONNX Runtime's
dynamic quantisation; its CPU kernels have no bf16 on x86).
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from laboratory.measuring.record import CPU, PEAK, WALL, Row, Stopwatch
from pftrack.arguments import Parser

CONFIGS = (
    "projects/configs/tracking/petr/f3_q5_800x320.py",
    "projects/configs/tracking/petr/f3_q5_1600x640.py",
)
ENGINES = ("torch", "static", "onnx", "onnx-int8")


def run(argv: list[str]) -> list[Row]:
    """Entry of ``tools/bench.py deploy``."""
    parser = Parser(prog="bench.py deploy", description=__doc__)
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES[:3]))
    parser.add_argument("--tracks", type=int, default=300, help="live tracks, and slots (300)")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="ONNX Runtime's time by operator")
    args = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for config in args.configs:
            rows += _run_config(config, args, Path(folder) / Path(config).stem)
    return rows


def _run_config(config: str, args: argparse.Namespace, folder: Path) -> list[Row]:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        pool.apply(prepare, (config, args.tracks, folder))
    print(f"\n{config}, {args.tracks} live tracks, {args.threads} threads")
    print(f"{'engine':10s}{'wall s':>9s}{'CPU s':>9s}{'peak GB':>9s}{'x torch':>9s}", flush=True)
    pipes = {}
    for engine in args.engines:
        mine, theirs = context.Pipe()
        job = (engine, config, args.tracks, args.threads, folder, args.profile, theirs)
        context.Process(target=serve, args=job, daemon=True).start()
        pipes[engine] = mine
        mine.recv()  # ready, warmed up
    best: dict[str, list[float]] = {engine: [float("inf")] * 2 for engine in args.engines}
    for _ in range(args.repetitions):
        for engine, pipe in pipes.items():
            pipe.send("frame")
            best[engine] = [min(pair) for pair in zip(best[engine], pipe.recv(), strict=True)]
    reference = best[args.engines[0]][1]
    rows = []
    for engine, (wall, cpu) in best.items():
        pipes[engine].send("end")
        peak, operators = pipes[engine].recv()
        print(f"{engine:10s}{wall:9.2f}{cpu:9.2f}{peak:9.2f}{reference / cpu:9.2f}")
        for name, seconds in operators:
            print(f"    {name:24s}{seconds:9.3f}")
        numbers = {WALL: wall, CPU: cpu, PEAK: peak}
        rows.append(Row(f"{Path(config).stem} {engine}", numbers))
    return rows


def prepare(config: str, tracks: int, folder: Path) -> None:
    """Write weights and their exports to ``folder``."""
    import torch

    from laboratory.parity.weights import fill
    from pftrack.config import load_config
    from pftrack.deployment.export import export_tracker
    from pftrack.deployment.verification import made_up_tracks, sample_frame
    from pftrack.registry import build_model
    from pftrack.tracking.api import load_tracker

    folder.mkdir()
    model = build_model(load_config(config).model)
    fill(model)
    torch.save({"state_dict": model.state_dict()}, folder / "weights.pth")
    export_tracker(config, folder / "weights.pth", folder / "onnx", slots=tracks)
    static = load_tracker(
        config, folder / "weights.pth", "cpu", static=True, slots=tracks, compile=False
    )
    frame = sample_frame(static)
    memory = made_up_tracks(static.static_step, frame, share=1.0)
    np.savez(folder / "frame.npz", **as_arrays(frame))
    np.savez(folder / "memory.npz", **as_arrays(memory))


def as_arrays(tensors: dict[str, Any]) -> dict[str, Any]:
    """The same in numpy."""
    return {name: value.numpy() for name, value in tensors.items()}


def serve(
    engine: str, config: str, tracks: int, threads: int, folder: Path, profile: bool, pipe: Any
) -> None:
    """Run a frame whenever asked; at the end tell peak memory and the time by operator."""
    from pftrack.memory import peak_memory

    one_frame, finish = _engine(engine, config, tracks, threads, folder, profile)
    one_frame()
    pipe.send("ready")
    while pipe.recv() == "frame":
        watch = Stopwatch()
        one_frame()
        pipe.send(tuple(watch.seconds().values()))
    pipe.send((peak_memory() / 1e9, finish()))


def _engine(
    engine: str, config: str, tracks: int, threads: int, folder: Path, profile: bool
) -> tuple[Callable[[], Any], Callable[[], list[tuple[str, float]]]]:
    """A function that tracks one frame, always from the same memory; what is left to say."""
    if engine.startswith("onnx"):
        return _onnx(engine, folder, threads, profile)

    import torch

    from pftrack.deployment.verification import made_up_tracks, sample_frame
    from pftrack.models.trackers.life_cycle import StreamMemory
    from pftrack.structures import FrameBatch, FramePose, normalize_images
    from pftrack.tracking.api import load_tracker

    torch.set_num_threads(threads)
    static = load_tracker(
        config, folder / "weights.pth", "cpu", static=True, slots=tracks, compile=False
    )
    step, frame = static.static_step, sample_frame(static)
    memory = made_up_tracks(step, frame, share=1.0)
    if engine == "static":
        return torch.no_grad()(lambda: step(frame, memory)), list
    model, images = step.model, static.images
    lidar2img = torch.linalg.inv(frame["calibration"].double())[None]
    tracks_now, _, _ = step._enter(memory, torch.tensor([False]))
    start = StreamMemory(
        tracks=tracks_now,
        last=FramePose(torch.eye(4)[None], torch.zeros(1, dtype=torch.float64), ("scene",)),
        sequence=1,
    )

    count = itertools.count()

    @torch.no_grad()
    def ordinary() -> Any:
        img = frame["images"].permute(0, 3, 1, 2)[None]
        batch = FrameBatch(
            normalize_images(img, images.augmentation.size, images.mean, images.std),
            images.augmentation.size,
            lidar2img * (1 + 1e-12 * next(count)),  # as in nuScenes: another one in every frame
            torch.linalg.inv(frame["ego_motion"])[None],
            torch.full((1,), 0.5, dtype=torch.float64),
            ["scene"],
        )
        return model.forward_track(batch, start)

    return ordinary, list


def _onnx(
    engine: str, folder: Path, threads: int, profile: bool
) -> tuple[Callable[[], Any], Callable[[], list[tuple[str, float]]]]:
    """As :func:`_engine`; in this process nothing imports PyTorch."""
    import onnxruntime

    from pftrack.deployment.onnx_tracker import OnnxTracker, session_options

    if engine == "onnx-int8":
        from onnxruntime.quantization import quantize_dynamic

        graph = folder / "onnx" / "tracker.onnx"
        quantize_dynamic(graph, folder / "int8.onnx", op_types_to_quantize=["MatMul"])
    tracker = OnnxTracker(folder / "onnx", threads=threads)
    if profile or engine == "onnx-int8":
        options = session_options("cpu", threads)
        options.enable_profiling = profile
        options.profile_file_prefix = str(folder / engine)
        graph = folder / ("int8.onnx" if engine == "onnx-int8" else "onnx/tracker.onnx")
        tracker._session = onnxruntime.InferenceSession(str(graph), options)
    arrays = dict(np.load(folder / "frame.npz"))
    memory = dict(np.load(folder / "memory.npz"))

    def one_frame() -> None:
        tracker.remember(memory)
        tracker.run(arrays)

    def finish() -> list[tuple[str, float]]:
        if not profile:
            return []
        events = json.loads(Path(tracker._session.end_profiling()).read_text())
        seconds: dict[str, float] = {}
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
                name = event["args"]["op_name"]
                seconds[name] = seconds.get(name, 0.0) + event["dur"] / 1e6
        frames = sum(event["name"] == "model_run" for event in events)
        ranked = sorted(seconds.items(), key=lambda item: -item[1])[:8]
        return [(name, spent / frames) for name, spent in ranked]

    return one_frame, finish
