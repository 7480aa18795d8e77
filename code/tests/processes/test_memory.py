"""Peak memory of a process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pftrack.memory import peak_memory

HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MANY = 600 << 20  # bytes, more than a process that only imports the package holds


def test_peak_memory_is_the_process_own():
    held = np.ones(MANY, dtype=np.uint8)
    assert peak_memory() >= len(held)
    code = "from pftrack.memory import peak_memory; print(peak_memory())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert 1 << 20 < int(child.stdout) < MANY


@pytest.mark.skipif(
    "[never]" in HUGE.read_text() if HUGE.exists() else True, reason="no pages of 2 MiB here"
)
def test_large_tensors_lie_in_huge_pages():
    code = """
import torch
from pftrack.memory import use_huge_pages
use_huge_pages()
held = torch.ones(MANY >> 2)
lines = open("/proc/self/smaps").read().splitlines()
print(sum(int(line.split()[1]) << 10 for line in lines if line.startswith("AnonHugePages")))
"""
    code = code.replace("MANY", str(MANY))
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(child.stdout) > MANY / 2
