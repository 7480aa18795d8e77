"""A training's process: what its loader workers do with signals."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from pftrack.training.process import (
    default_workers,
    ending_workers,
    quiet_worker,
    seed_everything,
)
from pftrack.training.sampler import EpochDataset


class WorkerIds(Dataset):
    """Each item is the process that made it."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> int:
        return os.getpid()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_loader_workers_survive_the_signals_their_trainer_handles(signum):
    loader = DataLoader(
        WorkerIds(), batch_size=None, num_workers=1, prefetch_factor=1, worker_init_fn=quiet_worker
    )
    items = iter(loader)
    worker = next(items)
    assert worker != os.getpid()
    os.kill(worker, signum)
    assert list(items) == [worker] * 29


class Epochs(Dataset):
    """Each item is the process that made it, and its epoch."""

    epoch = -1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[int, int]:
        return os.getpid(), self.epoch


def test_workers_stay_from_epoch_to_epoch_and_end_with_the_block():
    data = EpochDataset(Epochs())
    loader = DataLoader(data, batch_size=None, num_workers=1, persistent_workers=True)
    with pytest.raises(KeyError), ending_workers(loader):
        data.set_epoch(0)
        first = list(loader)
        data.set_epoch(1)
        second = list(loader)
        raise KeyError
    assert {epoch for _, epoch in first} == {0} and {epoch for _, epoch in second} == {1}
    (worker,) = {pid for pid, _ in first + second}
    assert not Path(f"/proc/{worker}").exists()


def test_deterministic_takes_all_that_torch_offers(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    seed_everything(0, deterministic=True, benchmark=True)
    try:
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        seed_everything(0)
    assert not torch.are_deterministic_algorithms_enabled()


def test_workers_share_the_cores_of_a_machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: range(64))
    assert default_workers() == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert default_workers() == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "100")
    assert default_workers() == 1
