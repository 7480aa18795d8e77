"""One training iteration of each step and one tracking frame at 320x800: time and memory.

    python tools/bench.py model_time [--tasks track f1 f3] [--tracks 300] [--size 320x800]

Each task runs in a process of its own, on the CPU, in float32, and reports wall time, CPU time and
peak memory of its second repetition. A training iteration is forward, backward, gradient clipping
and AdamW, with dropout, recomputed backbone blocks and channels-last weights, without GridMask.
There is no column for the original: a ratio counts only when both sides ran in one run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from dataclasses import dataclass, replace
from typing import Any

from pftrack.memory import peak_memory

CONFIGS = {
    "track": "projects/configs/tracking/petr/f3_q500_800x320.py",
    "f1": "projects/configs/tracking/petr/f1_q500_800x320.py",
    "f3": "projects/configs/tracking/petr/f3_q500_800x320.py",
}
FRAMES = {"track": 1, "f1": 1, "f3": 3}


@dataclass(frozen=True)
class Cost:
    """Seconds of wall and CPU time, peak resident memory in GB."""

    wall: float
    cpu: float
    peak: float


def run(argv: list[str]) -> int:
    """Measure and print the table; see the module's text."""
    parser = argparse.ArgumentParser(prog="bench.py model_time", description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=list(CONFIGS), default=list(CONFIGS))
    parser.add_argument("--tracks", type=int, default=300, help="live tracks while tracking")
    parser.add_argument("--size", default="320x800", metavar="HxW")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    height, width = (int(part) for part in args.size.split("x"))
    print(f"{'task':8s}{'wall s':>9s}{'CPU s':>9s}{'peak GB':>9s}")
    context = multiprocessing.get_context("spawn")
    for task in args.tasks:
        with context.Pool(1) as pool:
            cost = pool.apply(measure, (task, (height, width), args.tracks, args.threads))
        print(f"{task:8s}{cost.wall:9.1f}{cost.cpu:9.1f}{cost.peak:9.1f}", flush=True)
    return 0


def measure(task: str, size: tuple[int, int], tracks: int, threads: int) -> Cost:
    """The second repetition of a task in this process."""
    import torch

    from pftrack.config import load_config
    from pftrack.registry import build_model

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    cfg = load_config(CONFIGS[task], ["model.use_grid_mask=False"])
    model = build_model(cfg.model)
    repeat = _tracking(model, size, tracks) if task == "track" else _training(model, size, task)
    repeat()
    wall, cpu = time.perf_counter(), time.process_time()
    repeat()
    return Cost(
        time.perf_counter() - wall,
        time.process_time() - cpu,
        peak_memory() / 2**30,
    )


def _training(model: Any, size: tuple[int, int], task: str) -> Any:
    import torch

    from laboratory.synthetic import noise_clip

    model.to(memory_format=torch.channels_last)  # the training loop's default
    batch = noise_clip(size, FRAMES[task]).normalized()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, weight_decay=0.01)
    model.train()

    def iteration() -> None:
        optimizer.zero_grad(set_to_none=True)
        losses = model(batch)
        sum(value for name, value in losses.items() if "loss" in name).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 35)
        optimizer.step()

    return iteration


def _tracking(model: Any, size: tuple[int, int], tracks: int) -> Any:
    import torch

    from laboratory.synthetic import noise_clip

    frame = noise_clip(size, 1).normalized().frame(0)
    # Random weights are sure of nothing: keep the first instances as tracks, whatever their score.
    sure = replace(model.eval().thresholds, score_threshold=-1.0, record_threshold=-1.0)
    _, memory = model.forward_track(frame, thresholds=sure)  # the first frame has no tracks yet
    kept = memory.tracks.select(torch.arange(min(tracks, len(memory.tracks))))
    memory = replace(memory, tracks=kept)
    return lambda: model.forward_track(frame, memory, sure)
