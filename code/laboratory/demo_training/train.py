"""Train the demo's detector and tracker further on scenes that are rendered meanwhile.

python -m laboratory.demo_training.train OUT SECONDS [--device cpu] [--workers N] ...

One process trains, many clips a step (:mod:`batched`); the other cores render (:mod:`scenes`). The
rate falls with the time spent, so that the run ends when it is told to: SECONDS after its start
everything is written. Weights are also saved on the way.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CODE = Path(__file__).resolve().parents[2]
CONFIGS = CODE / "projects" / "configs" / "tracking" / "demo"
SHIPPED = CODE.parent / "checkpoints" / "demo"
VISIBILITY = 30.0  # as make demo's
SEED = 10_000  # of the first dataset; make demo's is 0
ENDING = 8.0  # s kept for the last checkpoint and for ending the workers
SAVE_EVERY = 60.0  # s
LOG_EVERY = 10.0  # s
WARM_UP = 0.04  # of a step's time
LAST_RATE = 0.02  # of the peak


@dataclass(frozen=True)
class Step:
    """One of the two steps.

    Attributes:
        name: of the checkpoint.  config: its configuration.  rate: peak learning rate.
        lengths: (until this share of its time, frames of a clip): the last reaches 1.
        frames: of a batch, all clips together.
        hardships: of its tracks (:class:`batched.Hardships`).
    """

    name: str
    config: str
    rate: float
    lengths: tuple[tuple[float, int], ...]
    frames: int
    hardships: Any = None


def parse_arguments() -> argparse.Namespace:
    from pftrack.arguments import Parser

    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for log.txt, f1_demo.pth and f3_demo.pth")
    parser.add_argument("seconds", type=float, help="until everything is written")
    parser.add_argument("--device", default="cuda:0", help="cuda:0 (default) or cpu")
    parser.add_argument("--workers", type=int, default=max(1, len(os.sched_getaffinity(0)) - 2))
    parser.add_argument("--f1-seconds", type=float, default=35.0, help="of them for step one")
    parser.add_argument("--rate", type=float, default=8e-4, help="peak learning rate of step two")
    parser.add_argument("--batch-frames", type=int, default=512, help="key frames a step")
    parser.add_argument("--capacity", type=int, default=800, help="scenes kept on the device")
    parser.add_argument("--begin-with", type=int, default=0, help="scenes (default: one a worker)")
    parser.add_argument("--scene-frames", type=int, default=40)
    parser.add_argument("--seed", type=int, default=SEED)
    return parser.parse_args()


def main() -> None:
    begun = time.monotonic()
    args = parse_arguments()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    from laboratory.demo_training.scenes import start_workers

    args.out.mkdir(parents=True, exist_ok=True)
    log = Log(args.out / "log.txt", begun)
    deadline = begun + args.seconds - ENDING
    with scratch_folder() as folder:
        config = CONFIGS / "f8_demo.py"
        workers = start_workers(
            folder, config, args.workers, args.seed, VISIBILITY, args.scene_frames
        )
        log(f"{args.workers} processes render below {folder}")
        try:
            train(args, folder, workers, deadline, log)
        finally:
            for worker in workers:
                worker.kill()
    log("done")


def train(
    args: argparse.Namespace, folder: Path, workers: list[Any], deadline: float, log: Log
) -> None:
    """Both steps, one after the other, until ``deadline``."""
    import torch

    from laboratory.demo_training.batched import Hardships
    from laboratory.demo_training.pool import ScenePool
    from pftrack.training.process import allow_tf32

    allow_tf32(True)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    hardships = Hardships(
        erased=0.1,
        held=0.1,
        ghosts=0.3,
        forecast_weight=1.0,
        forecast_corrects=True,
        forecast_reaches_features=True,
        seed=args.seed,
    )
    steps = (
        Step("f1", "f1_demo.py", 6e-4, ((1.0, 1),), args.batch_frames),
        Step("f3", "f8_demo.py", args.rate, ((0.6, 8), (1.0, 12)), args.batch_frames, hardships),
    )
    trainers = [Trainer(step, args, device, log) for step in steps]
    log("networks loaded")
    pool = ScenePool(folder, args.capacity, device, args.seed)
    wanted = args.begin_with or args.workers
    while pool.scenes < wanted and pool.error is None and time.monotonic() < deadline:
        if not any(worker.is_alive() for worker in workers):
            raise RuntimeError("every process that renders has ended: see what they said above")
        time.sleep(0.1)
    log(f"{pool.scenes} scenes are there")
    first, second = trainers
    first.run(pool, min(time.monotonic() + args.f1_seconds, deadline))
    second.run(pool, deadline)
    pool.close()
    if device.type == "cuda":
        log(f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of GPU memory at most")
    log(f"{sum(worker.is_alive() for worker in workers)} processes rendered {pool.scenes} scenes")


class Trainer:
    """One step: network, optimiser, and its checkpoint."""

    def __init__(self, step: Step, args: argparse.Namespace, device: Any, log: Log) -> None:
        import torch

        import pftrack.models  # noqa: F401 (registers the components)
        from laboratory.demo_training.batched import BatchedLosses
        from pftrack.checkpoints.reading import load_into
        from pftrack.config import load_config
        from pftrack.registry import build_model
        from pftrack.structures import CLASSES
        from pftrack.training.mm_config import read_settings
        from pftrack.training.optimizer import build_optimizer
        from pftrack.training.record import run_record

        self.step, self.log, self.frames = step, log, step.frames
        self.path = args.out / f"{step.name}_demo.pth"
        config = CONFIGS / step.config
        cfg = load_config(config, [f"optimizer.lr={step.rate}"])
        cfg.model["train_backbone"] = True
        model = build_model(cfg.model)
        log(f"{step.name}: {load_into(model, str(SHIPPED / self.path.name)).summary()}")
        model = model.to(device).to(memory_format=torch.channels_last).train()
        settings = read_settings(cfg)
        self.optimizer = build_optimizer(model, settings.optimizer)
        self.limit = settings.grad_clip or float("inf")
        half = torch.bfloat16 if device.type == "cuda" else None
        self.model, self.losses = model, BatchedLosses(model, half, step.hardships)
        record = run_record(config, args.seed, device, 1)
        self.meta = {"config": cfg.pretty_text, "CLASSES": list(CLASSES), "record": record}

    def run(self, pool: Any, until: float) -> None:
        """Train until the clock says so."""
        import torch

        from pftrack.models.acceleration import precision_context

        begun = said = saved = time.monotonic()
        done = skipped = frames_seen = 0
        sums: dict[str, Any] = {}
        since = 0
        now, last = begun, 0.0  # s that the last step took: no step is begun that would end late
        while now + last < until:
            share = (now - begun) / max(until - begun, 1e-6)
            length = next(frames for end, frames in self.step.lengths if share < end or end == 1.0)
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate_factor(share)
            try:
                clips = pool.draw(max(1, self.frames // length), length)
                with precision_context("fp32", clips.img.device):
                    losses = self.losses(clips)
                torch.stack([v.float() for v in losses.values()]).sum().backward()
            except torch.OutOfMemoryError:
                self.optimizer.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()
                self.frames //= 2
                self.log(f"out of memory: {self.frames} frames a step from here on")
                if not self.frames:
                    raise
                continue
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.limit)
            if bool(norm.isfinite()):
                self.optimizer.step()
            else:
                skipped += 1
            self.optimizer.zero_grad(set_to_none=True)
            done, since, frames_seen = done + 1, since + 1, frames_seen + self.frames
            with torch.no_grad():
                for name, value in summary(losses, length, norm).items():
                    sums[name] = sums.get(name, 0.0) + value.detach()
            last, now = time.monotonic() - now, time.monotonic()
            if now - said > LOG_EVERY or done in (1, 3):
                means = ", ".join(f"{k} {float(v) / since:.3f}" for k, v in sums.items())
                self.log(
                    f"{self.step.name} step {done}, {length} frames a clip, {share:.0%}, "
                    f"{pool.scenes} scenes, {frames_seen / (now - begun):.0f} "
                    f"frames/s, skipped {skipped}: {means}"
                )
                said, since, sums = now, 0, {}
            if now - saved > SAVE_EVERY:
                self.save(done, skipped)
                saved = now
        self.save(done, skipped)

    def save(self, iterations: int, skipped: int) -> None:
        """Weights and what made them; the file is replaced when the new one is whole."""
        from pftrack.training.checkpoint import cpu_state_dict, save_atomically

        meta = {**self.meta, "iter": iterations, "skipped": skipped}
        save_atomically({"meta": meta, "state_dict": cpu_state_dict(self.model)}, self.path)
        self.log(f"saved {self.path.name} after {iterations} steps")


def rate_factor(share: float) -> float:
    """Factor on the peak rate when ``share`` of the time has passed: linear rise, cosine fall."""
    cosine = LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return cosine * min(1.0, 0.1 + 0.9 * share / WARM_UP)


def summary(losses: dict[str, Any], length: int, norm: Any) -> dict[str, Any]:
    """A frame's mean loss, its terms over all frames and layers, the gradient's norm."""
    result: dict[str, Any] = {"a frame's loss": sum(losses.values()) / length}
    for term in ("loss_cls", "loss_bbox", "loss_mem_cls", "loss_mem_bbox", "loss_for"):
        last = [v for k, v in losses.items() if k.split(".")[-1] == term and ".d" not in f".{k}"]
        if last:
            result[term.removeprefix("loss_")] = sum(last) / length
    return {**result, "gradient": norm}


class Log:
    """Lines on the terminal and in a file, with the seconds since the start."""

    def __init__(self, path: Path, begun: float) -> None:
        self.path, self.begun = path, begun

    def __call__(self, text: str) -> None:
        line = f"{time.monotonic() - self.begun:6.1f} s  {text}"
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in memory where there is room for it, else where temporary files go."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 8e9
    with tempfile.TemporaryDirectory(
        prefix="demo_scenes_", dir=memory if roomy else None, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
