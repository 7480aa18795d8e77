"""This process: its random generators, its signals, its loader workers."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader


def seed_everything(seed: int, deterministic: bool = False, benchmark: bool = False) -> None:
    """Seed every generator of this process; choose between fast and repeatable GPU kernels.

    Args:
        deterministic: all that PyTorch offers; it warns of an operation that has no repeatable
            form (DETR3D's sampling has none in the backward pass).
        benchmark: cuDNN tries its algorithms for every new image size and keeps the fastest.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = benchmark and not deterministic
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read with the first product


def allow_tf32(allowed: bool) -> None:
    """Whether GPUs may multiply float32 matrices and convolve in TF32 (Ampere and later).

    geometry.py, the losses and the assignment take no matrix products on a GPU, so the network
    alone is concerned.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def hash_seed(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def default_workers() -> int:
    """Loader workers of this process: a share of the cores for each process of the machine."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(min(8, len(os.sched_getaffinity(0)) // processes), 1)


@contextmanager
def ending_workers(loader: DataLoader[Any]) -> Iterator[None]:
    """The loader's persistent workers end with the block, whatever ends it.

    They ignore the signal with which multiprocessing ends processes at exit, and PyTorch has no
    public way to end them while something, a traceback say, still holds the loader.
    """
    try:
        yield
    finally:
        if loader._iterator is not None:
            loader._iterator._shutdown_workers()  # type: ignore[attr-defined]
            loader._iterator = None


def quiet_worker(_worker: int) -> None:
    """Loader workers use one thread each, and leave signals to their trainer.

    A cluster's pre-emption and torchrun signal whole process groups; a worker that dies of it
    would end the step that is to be saved. A worker whose trainer is gone ends by itself.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    for signum in (signal.SIGINT, *StopSignals.SIGNALS):
        signal.signal(signum, signal.SIG_IGN)


class StopSignals:
    """While entered, SIGTERM and SIGUSR1 (pre-emption) set ``requested`` instead of killing."""

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> StopSignals:
        def request(_number: int, _frame: Any) -> None:
            self.requested = True

        self._previous = {number: signal.signal(number, request) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
