"""A training's process: what its loader workers do with signals."""

from __future__ import annotations

import os
import signal

import pytest
from torch.utils.data import DataLoader, Dataset

from pftrack.training.process import quiet_worker


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
