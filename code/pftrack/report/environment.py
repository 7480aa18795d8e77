"""What a run ran on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = ("torch", "torchvision", "mmcv", "mmdet", "mmdet3d", "nuscenes-devkit", "numpy")


def environment() -> dict[str, str]:
    """Host, accelerator, package versions and source revision; unknown ones are left out."""
    facts = {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "processor cores": str(os.cpu_count()),
    }
    try:
        import torch

        if torch.cuda.is_available():
            count = torch.cuda.device_count()
            facts["GPU"] = f"{count} x {torch.cuda.get_device_name(0)}"
            facts["CUDA"] = str(torch.version.cuda)
        else:
            facts["GPU"] = "none"
    except ImportError:
        pass
    for package in _PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    revision = _git_revision()
    if revision:
        facts["revision"] = revision
    return facts


def _git_revision() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
