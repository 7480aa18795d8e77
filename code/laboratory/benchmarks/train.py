"""Training steps as tools/train.py does them: samples/s, share of data waiting, peak memory.

Each configuration trains a few iterations on generated images in a process of its own, on the GPU
where there is one.

    python tools/bench.py train [petr/f1_q500_800x320 ...] [--iterations N] [a.b=c ...]
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from pathlib import Path

from laboratory.measuring.record import PEAK, Row
from pftrack.arguments import Parser
from pftrack.nuscenes.versions import MINI, info_file_name

CONFIGS = Path("projects/configs/tracking")
DEFAULT = ("demo/f1_demo", "demo/f3_demo", "petr/f1_q500_800x320")


def measure(
    config: str,
    data: Path,
    iterations: int,
    warmup: int,
    overrides: list[str],
    device: str = "auto",
) -> Row:
    """Train ``warmup + iterations`` steps and average the latter."""
    from pftrack.training.run import Request, run_training

    options = [f"data.{s}.data_root={data / 'nuscenes'}/" for s in ("train", "val", "test")]
    infos = data / info_file_name(MINI, "train")
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            config_file=CONFIGS / f"{config}.py",
            work_dir=Path(folder),
            device=device,
            load_from="none",
            validate=False,
            overrides=(
                *options, f"data.train.ann_file={infos}", "log_config.interval=1",
                "checkpoint_config.interval=1000",
                f"runner.max_iters={warmup + iterations}", "runner.max_epochs=1000", *overrides,
            ),
        )  # fmt: skip
        run_training(request)
        (log,) = Path(folder).glob("*.log.json")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [line for line in lines if line.get("mode") == "train"][warmup:]
    mean = {key: sum(step[key] for step in steps) / len(steps) for key in ("time", "data_time")}
    batch = _batch_size(config, overrides)
    numbers = {
        "batch": float(batch),
        "samples/s": batch / mean["time"],
        "step s": mean["time"],
        "waiting s": mean["data_time"],
        PEAK: steps[-1]["memory"] / 1024,
    }
    return Row(f"{config} on {lines[0]['device']}", numbers)


def _batch_size(config: str, overrides: list[str]) -> int:
    from pftrack.config import load_config

    return int(load_config(CONFIGS / f"{config}.py", overrides).data.samples_per_gpu)


def make_data(folder: Path, image_size: tuple[int, int], frames: int = 8) -> None:
    """A small generated dataset with its info files; made once."""
    from laboratory.demo_data import generate_dataset
    from pftrack.conversion.run import convert_folder

    root = folder / "nuscenes"
    workers = min(os.cpu_count() or 1, 2 * frames)
    generate_dataset(root, 2, frames, image_size, workers=workers, progress=True)
    convert_folder(root, MINI, folder)


def run(argv: list[str]) -> list[Row]:
    """Entry of ``tools/bench.py train``."""
    parser = Parser(prog="bench.py train", description=__doc__)
    parser.add_argument("configs", nargs="*", help=f"default: {' '.join(DEFAULT)}; or a.b=c")
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--image-size", default="1600x900", help="of the generated images")
    parser.add_argument("--data", type=Path, help="folder to keep them in (default: removed)")
    args = parser.parse_args(argv)
    overrides = [c for c in args.configs if "=" in c]
    configs = [c for c in args.configs if "=" not in c] or list(DEFAULT)
    width, height = (int(n) for n in args.image_size.split("x"))
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        data = args.data or Path(temporary)
        make_data(data, (width, height))
        for config in configs:
            with multiprocessing.get_context("spawn").Pool(
                1, initializer=_like_a_main_process
            ) as pool:
                job = (config, data, args.iterations, args.warmup, overrides)
                rows.append(pool.apply(measure, job))
    print(f"\n{'':<32}" + "".join(f"{name:>12}" for name in rows[0].numbers))
    for row in rows:
        _print(row)
    return rows


def _like_a_main_process() -> None:
    # Loader workers are children of the pool's process, forked as in a training.
    multiprocessing.set_start_method("fork", force=True)
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]


def _print(row: Row) -> None:
    print(f"{row.what:<32}" + "".join(f"{value:>12.2f}" for value in row.numbers.values()))
