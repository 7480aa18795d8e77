"""What is needed to repeat a run, stored in every checkpoint."""

from __future__ import annotations

import hashlib
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch

from pftrack.paths import CODE, REPOSITORY
from pftrack.revision import git_state


def run_record(
    config_file: Path, seed: int, device: torch.device, world_size: int
) -> dict[str, Any]:
    """Config file, lock hash, git commit, seed, device, command, versions: plain strings, numbers.

    What cannot be found out (no git, no lock beside the code) is the string 'unknown'.
    """
    return {
        "config_file": short_path(config_file),
        "command": _command_in_code(sys.argv),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **git_state(),
        "lock_sha256": _sha256(_lock()),
        "seed": seed,
        "device": device_name(device),
        "processes": world_size,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }


def short_path(path: Path) -> str:
    """Path below ``code/`` where it is one, so that records compare between machines."""
    path = path.resolve()
    return str(path.relative_to(CODE) if path.is_relative_to(CODE) else path)


def _command_in_code(arguments: list[str]) -> str:
    """The command as one types it in ``code/``; paths in the repository are relative to that."""
    command = " ".join([str(Path(arguments[0]).resolve()), *arguments[1:]])
    return command.replace(f"{CODE}/", "").replace(f"{REPOSITORY}/", "../")


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's with the number of threads used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _lock() -> Path:
    """The lock of this environment: its PyTorch is what the two differ in (make's CUDA)."""
    old = (torch.version.cuda or "").startswith("12.")
    return REPOSITORY / "docker" / f"requirements{'-cuda12' if old else ''}.lock"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "unknown"
