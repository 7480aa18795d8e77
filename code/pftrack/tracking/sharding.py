"""Which process takes which scenes, and on which device."""

from __future__ import annotations

from collections.abc import Mapping

from pftrack.errors import UserError


def balance(lengths: Mapping[str, int], parts: int) -> list[list[str]]:
    """Spread scenes over processes: the longest scene goes to whoever has the least so far.

    Args:
        lengths: frames of each scene.

    Returns:
        ``parts`` lists of scenes, each in the given order; some may be empty.
    """
    loads = [0] * parts
    owner: dict[str, int] = {}
    for scene in sorted(lengths, key=lambda s: -lengths[s]):
        least = loads.index(min(loads))
        owner[scene] = least
        loads[least] += lengths[scene]
    return [[s for s in lengths if owner[s] == part] for part in range(parts)]


def choose_devices(gpus: int, device: str = "auto") -> list[str]:
    """The device of each process.

    Args:
        gpus: number of processes; 0: one on the CPU.
        device: ``auto``, ``cuda``, or ``cpu`` (``gpus`` processes without a GPU).

    Raises:
        UserError: more GPUs than there are, or an unknown device.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"unknown device '{device}': use auto, cpu or cuda")
    if gpus < 0:
        raise UserError(f"cannot run on {gpus} GPUs")
    if gpus == 0 or device == "cpu":
        return ["cpu"] * max(gpus, 1)
    available = torch.cuda.device_count()
    if gpus > available:
        raise UserError(
            f"{gpus} GPU(s) asked for, this machine has {available} usable: use 0 for the CPU, or "
            f"DEVICE=cpu for {gpus} processes on it"
        )
    return [f"cuda:{i}" for i in range(gpus)]
