"""tools/train.py for the toy: the scripts beside it, the launcher and the loop are the real ones.

``train.py CONFIG --work-dir DIR [options of the real one, unread]``; CONFIG is a number: the
iteration at which rank 0 makes the file ``reached`` in the work dir and waits, once, for a signal
or for a byte in the pipe ``go`` beside it.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
from pathlib import Path

if "--dry-run" in sys.argv and __name__ == "__main__":
    sys.exit()

import torch
from training_toy import WORLD, ToyDataset, ToyModel, make_trainer

from pftrack.errors import run_cli
from pftrack.paths import CODE
from pftrack.training import checkpoint, distributed, launch
from pftrack.training.distributed import World
from pftrack.training.loop import Trainer
from pftrack.training.process import seed_everything


def install(folder: Path, *scripts: str) -> dict[str, str]:
    """``tools/`` with this command as train.py beside the scripts; the environment for them."""
    tools = folder / "tools"
    tools.mkdir(parents=True)
    for script in scripts:
        shutil.copy(CODE / "tools" / script, tools)
    shutil.copy(__file__, tools / "train.py")
    path = f"{CODE}:{CODE / 'tests' / 'helpers'}"
    return os.environ | {"PYTHON": sys.executable, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def trainer_of(work_dir: Path, world: World = WORLD) -> Trainer:
    """24 iterations of the toy, shared by the processes: losses do not depend on their number."""
    torch.set_num_threads(1)
    seed_everything(0)
    model = ToyModel(dropout=0.0, batch_norm=False)
    data = {"samples_per_gpu": 2 // world.size, "workers_per_gpu": 0}
    return make_trainer(work_dir, model, ToyDataset(24), world, data=data)


def train(stop_at: int, work_dir: Path) -> int:
    """Resume, and run to the end or to a signal."""
    launch.end_with_launcher()
    world = distributed.start("cpu")
    trainer = trainer_of(work_dir, world)
    model = trainer.model
    latest = distributed.broadcast_object(checkpoint.find_latest(work_dir))
    if latest is not None:
        trainer.resume(latest)
    forward, reached = model.forward, work_dir / "reached"

    def waiting(batch):
        if world.is_main and trainer.iteration == stop_at and not reached.exists():
            readable, writable = os.pipe()
            os.set_blocking(writable, False)
            signal.set_wakeup_fd(writable)  # a signal that comes before select is not lost
            os.mkfifo(work_dir / "go")
            go = os.open(work_dir / "go", os.O_RDWR)
            reached.touch()
            select.select([readable, go], [], [])
        return forward(batch)

    model.forward = waiting
    print(f"from iteration {trainer.iteration} with {len(os.sched_getaffinity(0))} core(s)")
    print("finished" if trainer.run() else "stopped", flush=True)
    distributed.stop()
    launch.leave_worker(0)
    return 0


if __name__ == "__main__":
    work_dir = Path(sys.argv[sys.argv.index("--work-dir") + 1])
    run_cli(lambda: train(int(sys.argv[1]), work_dir))
