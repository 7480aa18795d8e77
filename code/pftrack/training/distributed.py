"""Processes and devices: torchrun's environment in, a device and collective helpers out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from pftrack.devices import choose_device


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


def start(wanted_device: str) -> World:
    """Join the process group that torchrun's environment variables describe, if any."""
    env = os.environ
    size, rank = int(env.get("WORLD_SIZE", 1)), int(env.get("RANK", 0))
    local_rank = int(env.get("LOCAL_RANK", 0))
    device = choose_device(wanted_device, local_rank, int(env.get("LOCAL_WORLD_SIZE", 1)))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if "WORLD_SIZE" in env and "MASTER_ADDR" in env:
        backend = "nccl" if device.type == "cuda" else "gloo"
        device_id = device if device.type == "cuda" else None
        dist.init_process_group(backend, timeout=timedelta(minutes=30), device_id=device_id)
    return World(rank, local_rank, size, device)


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
