"""What half precision does to a training: losses of the same run in fp32, bf16 and fp16, and time.

Each golden file h_run_ (whole optimiser runs of the original, small images) is trained in every
precision and its total loss compared with the file; and the demo's step one is trained on
generated data, from the same weights, in the same order.

    python tools/bench.py precision [GOLDEN_FOLDER] [--iterations N] [--only PREFIX] [--seeds N]
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from laboratory.measuring.record import Row
from pftrack.arguments import Parser, whole
from pftrack.errors import UserError
from pftrack.nuscenes.versions import MINI, info_file_name

PRECISIONS = ("fp32", "bf16", "fp16")
DEMO = Path("projects/configs/tracking/demo/f1_demo.py")


def golden_runs(folder: Path, only: str, precisions: Sequence[str]) -> list[Row]:
    """Print the distance of the total loss from each file's, by iteration, and seconds a step."""
    from laboratory.parity.check_trajectory import run_trajectory
    from laboratory.parity.run import golden_files

    rows = []
    for golden in golden_files(folder, only):
        if golden.meta["float64"]:  # chaotic in float32 already
            continue
        reference = golden.arrays["losses"].sum(1)
        print(f"\n{golden.name}: total loss {reference[0]:.1f} to {reference[-1]:.1f}; distance")
        for precision in precisions:
            with tempfile.TemporaryDirectory() as scratch:
                run = run_trajectory(golden, Path(scratch), precision)
            losses = np.array([sum(step.values()) for step in run.losses])
            distances = np.abs(losses / reference - 1)
            shown = " ".join(f"{d:8.1e}" for d in distances)
            print(f"  {precision}  {np.median(run.seconds):6.2f} s a step  {shown}", flush=True)
            numbers = {"step s": float(np.median(run.seconds)), "distance": float(distances[-1])}
            rows.append(Row(f"{golden.name} {precision}", numbers))
    return rows


def demo_runs(iterations: int, precisions: Sequence[str], seeds: int) -> list[Row]:
    """Print the mean loss by tenth of each demo training, seconds a step, and how far precisions
    and seeds lie apart."""
    from laboratory.benchmarks.train import make_data

    rows, curves = [], {}
    print(f"\n{DEMO}: mean loss of each tenth of {iterations} iterations, by seed")
    with tempfile.TemporaryDirectory() as data:
        make_data(Path(data), (800, 450))
        for seed in range(seeds):
            for precision in precisions:
                seconds, losses = _train_demo(Path(data), iterations, precision, seed)
                curve = np.array([part.mean() for part in np.array_split(losses, 10)])
                curves[precision, seed] = curve
                shown = " ".join(f"{value:8.3f}" for value in curve)
                print(f"  {precision} {seed}  {seconds:6.2f} s a step  {shown}", flush=True)
                numbers = {"step s": seconds, "last loss": float(losses[-10:].mean())}
                rows.append(Row(f"{DEMO.stem} {precision} seed {seed}", numbers))
    reference = np.array([curves[precisions[0], seed] for seed in range(seeds)])
    middle = reference.mean(0)
    _print_percent(f"{precisions[0]}: seeds, from their mean at most", reference, middle)
    for precision in precisions[1:]:
        runs = np.array([curves[precision, seed] for seed in range(seeds)])
        _print_percent(f"{precision}: mean of the seeds", runs.mean(0, keepdims=True), middle)
    return rows


def _print_percent(what: str, curves: np.ndarray, reference: np.ndarray) -> None:
    """The distance of curves [n, 10] from one [10], the largest of each tenth, in percent."""
    distance = 100 * np.abs(curves / reference - 1).max(0)
    print(f"  {what}, %:  {' '.join(f'{value:5.2f}' for value in distance)}", flush=True)


def _train_demo(data: Path, iterations: int, precision: str, seed: int) -> tuple[float, np.ndarray]:
    """Seconds a step, and the total loss of every iteration."""
    from pftrack.training.run import Request, run_training

    infos = data / info_file_name(MINI, "train")
    overrides = (
        f"data.train.data_root={data}/nuscenes/", f"data.train.ann_file={infos}",
        f"runner.max_iters={iterations}", "runner.max_epochs=1000",
        "log_config.interval=1", "checkpoint_config.interval=1000",
        f"precision={precision}",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as work_dir:
        request = Request(
            DEMO, overrides, Path(work_dir), load_from="none", seed=seed, validate=False
        )
        run_training(request)
        (log,) = Path(work_dir).glob("*.log.json")
        lines = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    losses = np.array([line["loss"] for line in lines])
    if len(losses) < iterations:
        raise UserError(f"stopped after {len(losses)} of {iterations} iterations: no curve")
    return float(np.median([line["time"] for line in lines])), losses


def run(argv: list[str]) -> list[Row]:
    """Entry of ``tools/bench.py precision``."""
    parser = Parser(prog="bench.py precision", description=__doc__)
    parser.add_argument("golden", nargs="?", type=Path, help="default: none of these runs")
    parser.add_argument("--iterations", type=whole(0), default=200, help="of the demo; 0: none")
    parser.add_argument("--only", default="h_run", help="golden files beginning with this")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--seeds", type=whole(1), default=1, help="trainings of the demo in each")
    args = parser.parse_args(argv)
    rows = golden_runs(args.golden, args.only, args.precisions) if args.golden else []
    if args.iterations:
        rows += demo_runs(args.iterations, args.precisions, args.seeds)
    return rows
