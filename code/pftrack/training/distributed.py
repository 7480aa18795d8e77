"""Processes and devices: torchrun's environment in, a device and collective helpers out."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from pftrack.devices import choose_device
from pftrack.errors import UserError
from pftrack.training import rendezvous

_COLLECTIVE = timedelta(minutes=30)  # a process that evaluates keeps the others waiting


@dataclass(frozen=True)
class World:
    """This process among the others. Alone: rank 0 of 1, no process group."""

    rank: int
    local_rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def start(wanted_device: str, alone: bool = False) -> World:
    """Join the process group that torchrun's environment variables describe, if any.

    Args:
        alone: be one process whatever they describe.

    Raises:
        UserError: the other processes were not there within JOIN_TIMEOUT.
    """
    env = os.environ
    grouped = not alone and "WORLD_SIZE" in env and "MASTER_ADDR" in env
    size = 1 if alone else int(env.get("WORLD_SIZE", 1))
    rank = 0 if alone else int(env.get("RANK", 0))
    local_rank = 0 if alone else int(env.get("LOCAL_RANK", 0))
    device = choose_device(wanted_device, local_rank, int(env.get("LOCAL_WORLD_SIZE", 1)))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if grouped:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=dist.PrefixStore("default_pg", _meet()),
            rank=rank,
            world_size=size,
            timeout=_COLLECTIVE,
            device_id=device if device.type == "cuda" else None,
        )
    return World(rank, local_rank, size, device)


def _meet() -> dist.Store:
    """The store of the process group, once every process has come to it."""
    patience = rendezvous.patience()
    begun = time.monotonic()
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=timedelta(seconds=patience)))
    except dist.DistError as error:
        if time.monotonic() - begun < 0.9 * patience:  # another one died: torchrun starts all again
            raise
        raise UserError(
            f"process {os.environ.get('RANK')} did not meet the others at "
            f"{os.environ['MASTER_ADDR']}:{os.environ.get('MASTER_PORT')} within {patience} s "
            "(JOIN_TIMEOUT): are all started, and may the machines reach each other on all ports?"
        ) from error
    store.set_timeout(_COLLECTIVE)
    return store


def stop() -> None:
    """Leave the process group, when all do: after a failure of one the others are still in it."""
    if dist.is_initialized():
        dist.destroy_process_group()


def reduce_max(values: torch.Tensor) -> torch.Tensor:
    """Element-wise maximum over the processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(values, op=dist.ReduceOp.MAX)
    return values


def reduce_mean(values: torch.Tensor) -> torch.Tensor:
    """Mean over the processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
        values /= dist.get_world_size()
    return values


def barrier() -> None:
    """Wait for the other processes."""
    if dist.is_initialized():
        dist.barrier()


def gather_objects(value: Any) -> list[Any]:
    """``value`` of every process, by rank."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def broadcast_object(value: Any) -> Any:
    """Rank 0's ``value``."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]
