"""Which sample comes next: a shuffled, sharded, resumable order that is a function of the seed; and
of which epoch it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler


class ResumableSampler(Sampler[int]):
    """The indices of one process for one epoch, from any batch of it on.

    Epoch ``e`` visits the permutation drawn from (seed, e), padded by its own beginning to whole
    batches on every process. Consecutive batches of ``batch_size`` go to consecutive ranks, so that
    n processes of batch size b visit together what one process of batch size n * b visits.
    """

    def __init__(
        self, num_samples: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.start_batch = 0

    @property
    def batches_per_epoch(self) -> int:
        return -(-self.num_samples // (self.batch_size * self.world_size))

    def set_position(self, epoch: int, start_batch: int = 0) -> None:
        """The next iteration yields epoch ``epoch`` from its batch ``start_batch`` on."""
        self.epoch = epoch
        self.start_batch = start_batch

    def __len__(self) -> int:
        return (self.batches_per_epoch - self.start_batch) * self.batch_size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        order = torch.randperm(self.num_samples, generator=generator)
        total = self.batches_per_epoch * self.batch_size * self.world_size
        order = order.repeat(-(-total // self.num_samples))[:total]
        mine = order.view(self.batches_per_epoch, self.world_size, self.batch_size)[:, self.rank]
        return iter(mine[self.start_batch :].flatten().tolist())


class EpochDataset(Dataset[Any]):
    """A dataset whose epoch reaches loader workers that run already.

    Args:
        dataset: has ``set_epoch(e)`` when its items depend on the epoch.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._told: int | None = None

    def set_epoch(self, epoch: int) -> None:
        """Items asked for from now on are of ``epoch``, in every process."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        epoch = int(self._epoch)
        if epoch != self._told and hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)
        self._told = epoch
        return self.dataset[index]
