"""What half precision does to a training: losses of the same run in fp32, bf16 and fp16, and time.

Each golden file h_run_ (whole optimiser runs of the original, small images) is trained in every
precision and its total loss compared with the file; and the demo's step one is trained on
generated data, from the same weights, in the same order.

    python tools/bench.py precision [GOLDEN_FOLDER] [--iterations N] [--only PREFIX]
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

from laboratory.measuring.record import Row
from pftrack.arguments import Parser
from pftrack.nuscenes.versions import MINI, info_file_name

PRECISIONS = ("fp32", "bf16", "fp16")
DEMO = Path("projects/configs/tracking/demo/f1_demo.py")


def golden_runs(folder: Path, only: str) -> list[Row]:
    """Print the distance of the total loss from each file's, by iteration, and seconds a step."""
    from laboratory.parity.check_trajectory import run_trajectory
    from laboratory.parity.run import golden_files

    rows = []
    for golden in golden_files(folder, only):
        if golden.meta["float64"]:  # chaotic in float32 already
            continue
        reference = golden.arrays["losses"].sum(1)
        print(f"\n{golden.name}: total loss {reference[0]:.1f} to {reference[-1]:.1f}; distance")
        for precision in PRECISIONS:
            with tempfile.TemporaryDirectory() as scratch:
                run = run_trajectory(golden, Path(scratch), precision)
            losses = np.array([sum(step.values()) for step in run.losses])
            distances = np.abs(losses / reference - 1)
            shown = " ".join(f"{d:8.1e}" for d in distances)
            print(f"  {precision}  {np.median(run.seconds):6.2f} s a step  {shown}", flush=True)
            numbers = {"step s": float(np.median(run.seconds)), "distance": float(distances[-1])}
            rows.append(Row(f"{golden.name} {precision}", numbers))
    return rows


def demo_runs(iterations: int) -> list[Row]:
    """Print the mean loss by tenth of a demo training, and seconds a step."""
    from laboratory.benchmarks.train import make_data
    from pftrack.training.run import Request, run_training

    rows = []
    print(f"\n{DEMO}: mean loss of each tenth of {iterations} iterations")
    with tempfile.TemporaryDirectory() as data:
        make_data(Path(data), (800, 450))
        infos = Path(data) / info_file_name(MINI, "train")
        for precision in PRECISIONS:
            with tempfile.TemporaryDirectory() as work_dir:
                overrides = (
                    f"data.train.data_root={data}/nuscenes/", f"data.train.ann_file={infos}",
                    f"runner.max_iters={iterations}", "runner.max_epochs=1000",
                    "log_config.interval=1", "checkpoint_config.interval=1000",
                    f"precision={precision}",
                )  # fmt: skip
                request = Request(DEMO, overrides, Path(work_dir), load_from="none", validate=False)
                run_training(request)
                (log,) = Path(work_dir).glob("*.log.json")
                lines = [json.loads(line) for line in log.read_text().splitlines()[1:]]
            losses = np.array([line["loss"] for line in lines])
            shown = " ".join(f"{part.mean():8.3f}" for part in np.array_split(losses, 10))
            seconds = np.median([line["time"] for line in lines])
            print(f"  {precision}  {seconds:6.2f} s a step  {shown}", flush=True)
            numbers = {"step s": float(seconds), "last loss": float(losses[-10:].mean())}
            rows.append(Row(f"{DEMO.stem} {precision}", numbers))
    return rows


def run(argv: list[str]) -> list[Row]:
    """Entry of ``tools/bench.py precision``."""
    parser = Parser(prog="bench.py precision", description=__doc__)
    parser.add_argument("golden", nargs="?", type=Path, help="default: none of these runs")
    parser.add_argument("--iterations", type=int, default=200, help="of the demo; 0: none")
    parser.add_argument("--only", default="h_run", help="golden files beginning with this")
    args = parser.parse_args(argv)
    rows = golden_runs(args.golden, args.only) if args.golden else []
    return rows + (demo_runs(args.iterations) if args.iterations else [])
