"""Peak memory and arithmetic of a training step of every published configuration, without a GPU.

    python tools/bench.py memory [--configs petr/f1_q500_800x320 ...] [--precisions fp32 bf16]

Counted on fake tensors (laboratory/fake_gpu.py): one clip a step, 40 objects, the second step,
recomputed blocks as configured. On a GPU 0.2 GiB of allocated memory come on top, and about 1 GB
beside it. The time is what a GPU needs that does ``--tflops`` 10^12 operations a second; starting
the kernels may take longer (laboratory/gpu_check).
"""

from __future__ import annotations

import multiprocessing
from typing import Any

from laboratory.measuring.record import Row
from pftrack.arguments import Parser

CONFIGS = (
    "petr/f1_q500_800x320",
    "petr/f1_q500_1600x640",
    "petr/f3_q500_800x320",
    "petr/f3_q500_1600x640",
    "petr/f5_q500_800x320",
    "petr/f1_r50_704x256",
    "petr/f3_r50_704x256",
    "detr3d/f1_q500_800x320",
    "detr3d/f1_q500_1600x640",
    "detr3d/f3_q500_800x320",
    "detr3d/f3_q500_1600x640",
)
# fp16 stores as much as bf16.
PRECISIONS = ("fp32", "bf16")


def run(argv: list[str]) -> list[Row]:
    """Entry of ``tools/bench.py memory``."""
    parser = Parser(prog="bench.py memory", description=__doc__)
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--tflops", type=float, default=250.0, help="of the GPU that is estimated")
    args = parser.parse_args(argv)
    columns = ("weights GiB", "peak GiB", "TFLOP", "ms")
    print(f"{'configuration':<26}{'':<6}" + "".join(f"{c:>13}" for c in columns))
    context = multiprocessing.get_context("spawn")
    rows = []
    for config in args.configs:
        for precision in args.precisions:
            with context.Pool(1) as pool:
                cost = pool.apply(measure, (config, precision))
            milliseconds = 1e3 * cost.tflop / args.tflops
            print(
                f"{config:<26}{precision:<6}{cost.weights:>13.2f}{cost.peak:>13.2f}"
                f"{cost.tflop:>13.2f}{milliseconds:>13.0f}",
                flush=True,
            )
            values = (cost.weights, cost.peak, cost.tflop, milliseconds)
            rows.append(Row(f"{config} {precision}", dict(zip(columns, values, strict=True))))
    return rows


def measure(config: str, precision: str) -> Any:
    """The :class:`laboratory.fake_gpu.StepCost`, in a process of its own."""
    from laboratory.fake_gpu import training_step_cost

    return training_step_cost(config, precision)
