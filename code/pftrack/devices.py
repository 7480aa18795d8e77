"""On which device: what a command line may ask for, and whether the machine has it."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from pftrack.errors import UserError

if TYPE_CHECKING:
    import torch

KINDS = ("auto", "cpu", "cuda")


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """``--device`` of commands that start processes."""
    parser.add_argument(
        "--device",
        choices=KINDS,
        default=os.environ.get("DEVICE") or "auto",
        help="cpu: as many processes without a GPU (variable DEVICE)",
    )


def choose_device(wanted: str, local_rank: int = 0, local_size: int = 1) -> torch.device:
    """The device of a process beside others: 'auto' is the GPU when there is one.

    Args:
        wanted: one of :data:`KINDS`.
        local_rank, local_size: which of how many processes on this machine.

    Raises:
        UserError: a GPU is asked for that the machine does not have.
    """
    import torch

    _check_kind(wanted)
    if wanted == "cpu" or (wanted == "auto" and torch.cuda.device_count() == 0):
        return torch.device("cpu")
    _check_count(local_size)
    return torch.device("cuda", local_rank)


def choose_devices(gpus: int, device: str = "auto") -> list[str]:
    """The device of each process of a run.

    Args:
        gpus: number of processes; 0: one on the CPU.
        device: ``auto``, ``cuda``, or ``cpu`` (``gpus`` processes without a GPU).

    Raises:
        UserError: more GPUs than there are, or an unknown device.
    """
    _check_kind(device)
    if gpus < 0:
        raise UserError(f"cannot run on {gpus} GPUs")
    if gpus == 0 or device == "cpu":
        return ["cpu"] * max(gpus, 1)
    _check_count(gpus)
    return [f"cuda:{i}" for i in range(gpus)]


def find_device(device: str | torch.device) -> torch.device:
    """The device that a name stands for: 'auto', 'cpu', 'cuda', 'cuda:1'.

    Raises:
        UserError: this machine has no such device.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise UserError(f"no device '{device}': use cpu, cuda or cuda:N") from None
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"no device '{device}': this machine has {torch.cuda.device_count()} GPUs; use cpu"
        )
    return found


def _check_kind(device: str) -> None:
    if device not in KINDS:
        raise UserError(f"unknown device '{device}': use auto, cpu or cuda")


def _check_count(gpus: int) -> None:
    import torch

    count = torch.cuda.device_count()
    if gpus > count:
        raise UserError(
            f"{gpus} GPU(s) asked for, this machine has {count}: use GPUS={count}"
            f"{' (the CPU)' if count == 0 else ''}, or DEVICE=cpu for {gpus} process(es) on the CPU"
        )
