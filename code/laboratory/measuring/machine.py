"""What measured numbers depend on beside the code: the machine, versions, what else runs."""

from __future__ import annotations

import os
import platform
import re
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from pftrack.devices import nvidia_smi
from pftrack.revision import git_state

# What decides about the speed of matrix products on a CPU.
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
QUIET = 0.1  # cores that others may use without being noticed
_PACKAGES = ("torch", "numpy", "mmcv")


def machine() -> dict[str, Any]:
    """``cpu``, ``flags``, ``cores`` that this process may use, ``memory_gb``, ``gpus``, ``load``
    (the averages of 1, 5 and 15 minutes)."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    model = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.+)$", text, re.MULTILINE)
    has = set(flags[1].split()) if flags else set()
    return {
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "flags": [flag for flag in FLAGS if flag in has],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "gpus": nvidia_smi("name"),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def versions() -> dict[str, Any]:
    """``python``, packages, ``git_commit`` and whether files differ from it."""
    packages = {name: metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **packages, **git_state()}


class OtherWork:
    """How many cores other processes keep busy while something runs."""

    def __init__(self) -> None:
        self._start = self._now()

    def cores(self, own_seconds: float) -> float | None:
        """Mean since this was made; None where the system does not say.

        Args:
            own_seconds: CPU seconds that do not count, our own.
        """
        now = self._now()
        if now is None or self._start is None:
            return None
        passed, busy = (b - a for a, b in zip(self._start, now, strict=True))
        return max(0.0, (busy - own_seconds) / max(passed, 1e-9))

    @staticmethod
    def _now() -> tuple[float, float] | None:
        """Time, and CPU seconds of all cores that were not idle."""
        path = Path("/proc/stat")
        if not path.exists():
            return None
        fields = [int(field) for field in path.read_text().splitlines()[0].split()[1:9]]
        idle = fields[3] + fields[4]  # idle, iowait
        return time.monotonic(), (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")


def disturbed(others: float | None) -> str | None:
    """A line about a machine that was not quiet."""
    if others is None or others <= QUIET:
        return None
    return f"not quiet: other processes kept {others:.1f} cores busy; read CPU s, not wall s"
