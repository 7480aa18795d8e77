"""What a run ran on."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from pftrack.devices import find_gpus
from pftrack.revision import UNKNOWN, git_state

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

        gpus = find_gpus()
        if gpus.usable:
            facts["GPU"] = f"{len(gpus.usable)} x {torch.cuda.get_device_name(gpus.usable[0])}"
            facts["CUDA"] = str(torch.version.cuda)
        else:
            facts["GPU"] = "none that is usable" if gpus.problem else "none"
    except ImportError:
        pass
    for package in _PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    state = git_state()
    if state["git_commit"] != UNKNOWN:
        facts["revision"] = state["git_commit"][:10] + ("-dirty" if state["git_modified"] else "")
    return facts
