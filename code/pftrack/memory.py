"""Memory of this process."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes.

    Read from the kernel's record of the address space: ``getrusage`` also counts what the process
    that started this one held at that moment. It is the answer where there is no such record.
    """
    peak = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    kib = int(peak[1]) if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib << 10


def use_huge_pages() -> None:
    """PyTorch takes its larger tensors in pages of 2 MiB, where the kernel offers such pages.

    For training on a CPU, before the first tensor: what one iteration leaves free is fit for
    the next one, which takes a seventh less memory. A tracker's weights would only take more.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def return_freed() -> None:
    """Give memory that was freed back to the system (with glibc; elsewhere nothing is done).

    Where much smaller memory stays after much was freed, the allocator keeps all of it.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
