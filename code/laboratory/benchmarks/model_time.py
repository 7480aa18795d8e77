"""One training iteration of each step and one tracking frame: time and memory.

    python tools/bench.py model_time [--tasks track f1 f3] [--precisions fp32 bf16]

Each task runs in a process of its own, on the CPU, and reports wall time, CPU time and peak memory
of its second repetition; its arithmetic (products and convolutions); and "as matmul", the share of
that CPU time which as much arithmetic takes as large matrix products on the same cores right
afterwards. A tracker is prepared as ``load_tracker`` does it. A training iteration is forward,
backward, gradient clipping and AdamW, with dropout, recomputed backbone blocks and channels-last
weights, without GridMask.
There is no column for the original: a ratio counts only when both sides ran in one run.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from laboratory.measuring.record import CPU, PEAK, WALL, Row, Stopwatch
from pftrack.arguments import Parser

CONFIGS = {
    "track": "projects/configs/tracking/petr/f3_q500_800x320.py",
    "f1": "projects/configs/tracking/petr/f1_q500_800x320.py",
    "f3": "projects/configs/tracking/petr/f3_q500_800x320.py",
}
FRAMES = {"f1": 1, "f3": 3}
ARITHMETIC, SHARE = "TFLOP", "as matmul"


def run(argv: list[str]) -> list[Row]:
    """Measure and print the table; see the module's text."""
    parser = Parser(prog="bench.py model_time", description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=list(CONFIGS), default=list(CONFIGS))
    parser.add_argument("--tracks", type=int, default=300, help="live tracks while tracking")
    parser.add_argument("--sizes", nargs="+", default=["320x800"], metavar="HxW")
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16"), default=["fp32"])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    columns = (WALL, CPU, PEAK, ARITHMETIC, SHARE)
    print(f"{'':24s}{''.join(f'{name:>11s}' for name in columns)}")
    context = multiprocessing.get_context("spawn")
    rows = []
    for size in args.sizes:
        for task in args.tasks:
            for precision in args.precisions:
                job = (task, size, precision, args.tracks, args.threads)
                with context.Pool(1) as pool:
                    row = pool.apply(measure, job)
                values = "".join(f"{row.numbers[name]:11.2f}" for name in columns)
                print(f"{row.what:24s}{values}", flush=True)
                rows.append(row)
    return rows


def measure(task: str, size: str, precision: str, tracks: int, threads: int) -> Row:
    """The second repetition of a task in this process."""
    import torch

    height, width = (int(part) for part in size.split("x"))
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    if task == "track":
        repeat = _tracking((height, width), precision, tracks)
    else:
        repeat = _training((height, width), precision, task)
    repeat()
    watch = Stopwatch()
    repeat()
    cost = watch.cost()

    # What counts takes memory itself.
    from laboratory.measuring.arithmetic import count_flop, matmul_rate

    flop = count_flop(repeat)
    least = flop / matmul_rate(precision)
    numbers = {**cost, ARITHMETIC: flop / 1e12, SHARE: least / cost[CPU]}
    return Row(f"{task} {size} {precision}", numbers)


def _training(size: tuple[int, int], precision: str, task: str) -> Callable[[], object]:
    import torch

    from laboratory.synthetic import noise_clip
    from pftrack.config import load_config
    from pftrack.memory import use_huge_pages
    from pftrack.models.acceleration import precision_context
    from pftrack.models.layers.winograd import use_winograd
    from pftrack.registry import build_model

    use_huge_pages()  # as training does
    model = build_model(load_config(CONFIGS[task], ["model.use_grid_mask=False"]).model)
    model.to(memory_format=torch.channels_last)  # the training loop's default
    use_winograd(model)
    batch = noise_clip(size, FRAMES[task]).normalized()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, weight_decay=0.01)
    model.train()

    def iteration() -> None:
        optimizer.zero_grad(set_to_none=True)
        with precision_context(precision, torch.device("cpu")):
            losses = model(batch)
        total: Any = sum(value for name, value in losses.items() if "loss" in name)
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 35)
        optimizer.step()

    return iteration


def _tracking(size: tuple[int, int], precision: str, tracks: int) -> Callable[[], object]:
    import torch

    from laboratory.synthetic import noise_clip
    from pftrack.models.acceleration import precision_context
    from pftrack.tracking.api import load_tracker

    frame = noise_clip(size, 1).normalized().frame(0)
    tracker = load_tracker(CONFIGS["track"], device="cpu", dtype=precision)
    # Random weights are sure of nothing: keep the first instances as tracks, whatever their score.
    sure = replace(tracker.thresholds, score_threshold=-1.0, record_threshold=-1.0)

    def step(memory: Any = None) -> Any:
        with precision_context(precision, tracker.device):
            return tracker.model.forward_track(frame, memory, sure)

    _, memory = step()  # the first frame has no tracks yet
    kept = memory.tracks.select(torch.arange(min(tracks, len(memory.tracks))))
    memory = replace(memory, tracks=kept)
    return lambda: step(memory)
