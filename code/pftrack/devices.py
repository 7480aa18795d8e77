"""On which device: what a command line may ask for, and whether the machine has it."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pftrack.errors import UserError

if TYPE_CHECKING:
    import torch

KINDS = ("auto", "cpu", "cuda")
# The oldest driver of each CUDA generation (minor versions are compatible), by its major version.
OLDEST_DRIVER = {12: 525, 13: 580}
_WITHOUT = "DEVICE=cpu goes without GPUs"


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """``--device`` of commands that start processes."""
    parser.add_argument(
        "--device",
        choices=KINDS,
        default=os.environ.get("DEVICE") or "auto",
        help="cpu: as many processes without a GPU (variable DEVICE)",
    )


@dataclass(frozen=True)
class Gpus:
    """What this process can do with the GPUs that it may see.

    Attributes:
        usable: numbers of those that PyTorch can compute on.
        problem: why it cannot compute on the others, and what to do; empty when there are none.
    """

    usable: tuple[int, ...] = ()
    problem: str = ""


def find_gpus() -> Gpus:
    """Which GPUs PyTorch can use here, and why not the others. Initialises CUDA if there are any.

    A GPU is out of use when its driver is too old for this PyTorch, when PyTorch was built without
    CUDA or for other generations of GPUs, or when the driver does not answer.
    """
    import torch

    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return Gpus()
    if torch.cuda.device_count() == 0 and not machine_has_gpus():
        return Gpus()
    if torch.version.cuda is None:
        built = f"PyTorch {torch.__version__} is built without CUDA"
        return Gpus(problem=f"{built}: 'make setup' installs one with it on x86-64; {_WITHOUT}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what is found out below
            torch.cuda.init()
    except RuntimeError as error:
        return Gpus(problem=_why_not(str(error), str(torch.version.cuda)))
    usable, problems = [], []
    built_for = torch.cuda.get_arch_list()
    for gpu in range(torch.cuda.device_count()):
        capability = torch.cuda.get_device_capability(gpu)
        if _runs_on(built_for, capability):
            usable.append(gpu)
        else:
            problems.append(
                f"GPU {gpu} ({torch.cuda.get_device_name(gpu)}) has compute capability "
                f"{capability[0]}.{capability[1]}, PyTorch {torch.__version__} is built for "
                f"{' '.join(built_for)}"
            )
    if not problems:
        return Gpus(tuple(usable))
    hint = "use another GPU"
    if torch.version.cuda.startswith("13."):
        hint += ", or 'make setup CUDA=12', which reaches back to 7.0"
    return Gpus(tuple(usable), f"{'; '.join(problems)}: {hint}; {_WITHOUT}")


def machine_has_gpus() -> bool:
    """Has this machine, or container, NVIDIA GPUs, whatever PyTorch and their driver say?"""
    return any(Path("/dev").glob("nvidia[0-9]*")) or bool(nvidia_smi("index"))


def _why_not(error: str, built_with: str) -> str:
    """Why CUDA cannot be initialised, from PyTorch's words.

    Args:
        built_with: the CUDA version of this PyTorch, e.g. 13.0.
    """
    version = "".join(nvidia_smi("driver_version")[:1])
    driver = f"NVIDIA's driver {version}".strip()
    found = re.search(r"driver on your system is too old \(found version (\d+)\)", error)
    if found is None:
        return f"{driver} does not work: {error.partition('.')[0]}: see nvidia-smi; {_WITHOUT}"
    offers, needs = int(found[1]) // 1000, int(built_with.partition(".")[0])
    hint = f"install driver {OLDEST_DRIVER.get(needs, 'of this year')} or newer"
    if offers == 12 and needs == 13:
        hint += f", or 'make setup CUDA=12' (for drivers from {OLDEST_DRIVER[12]} on)"
    return (
        f"{driver} is too old: it offers CUDA {offers}.{int(found[1]) % 1000 // 10}, this PyTorch "
        f"is built for CUDA {built_with}: {hint}; {_WITHOUT}"
    )


def _runs_on(built_for: list[str], capability: tuple[int, int]) -> bool:
    """Does code for ``sm_XY`` (that generation, from Y on) or ``compute_XY`` (all later) run?"""
    for name in built_for:
        kind, _, digits = name.partition("_")
        number = int(re.match(r"\d+", digits)[0])  # type: ignore[index] # sm_90a
        own = divmod(number, 10)
        if own <= capability and (kind == "compute" or own[0] == capability[0]):
            return True
    return False


def nvidia_smi(field: str) -> list[str]:
    """A property of every GPU of this machine, as nvidia-smi prints it; [] without its answer."""
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in run.stdout.splitlines() if line.strip()]


def choose_device(wanted: str, local_rank: int = 0, local_size: int = 1) -> torch.device:
    """The device of a process beside others: 'auto' is a GPU when the machine has one.

    Args:
        wanted: one of :data:`KINDS`.
        local_rank, local_size: which of how many processes on this machine.

    Raises:
        UserError: a GPU is asked for that the machine does not have, or has and cannot use.
    """
    import torch

    _check_kind(wanted)
    if wanted == "cpu":
        return torch.device("cpu")
    gpus = find_gpus()
    if wanted == "auto" and gpus == Gpus():
        return torch.device("cpu")
    _check_count(local_size, gpus)
    return torch.device("cuda", gpus.usable[local_rank])


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
    found = find_gpus()
    _check_count(gpus, found)
    return [f"cuda:{i}" for i in found.usable[:gpus]]


def find_device(device: str | torch.device) -> torch.device:
    """The device that a name stands for: 'auto', 'cpu', 'cuda', 'cuda:1'.

    'auto' and 'cuda' are the first usable GPU; 'auto' is the CPU on a machine without any.

    Raises:
        UserError: this machine has no such device, or cannot use it.
    """
    import torch

    if device == "auto":
        return choose_device("auto")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise UserError(f"no device '{device}': use cpu, cuda or cuda:N") from None
    if found.type != "cuda":
        return found
    gpus = find_gpus()
    if found.index is None and gpus.usable:
        return torch.device("cuda", gpus.usable[0])
    if found.index not in gpus.usable:
        raise UserError(f"no device '{device}': {gpus.problem or _has(gpus) + ' GPU(s)'}; use cpu")
    return found


def _check_kind(device: str) -> None:
    if device not in KINDS:
        raise UserError(f"unknown device '{device}': use auto, cpu or cuda")


def _check_count(wanted: int, gpus: Gpus) -> None:
    count = len(gpus.usable)
    if wanted <= count:
        return
    if gpus.problem:
        raise UserError(f"{wanted} GPU(s) asked for, {_has(gpus)} usable: {gpus.problem}")
    raise UserError(
        f"{wanted} GPU(s) asked for, {_has(gpus)}: use GPUS={count}"
        f"{' (the CPU)' if count == 0 else ''}, or DEVICE=cpu for {wanted} process(es) on the CPU"
    )


def _has(gpus: Gpus) -> str:
    return f"this machine has {len(gpus.usable)}"
