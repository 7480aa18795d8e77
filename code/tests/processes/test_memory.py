"""Peak memory of a process."""

import subprocess
import sys

import numpy as np

from pftrack.memory import peak_memory

MANY = 600 << 20  # bytes, more than a process that only imports the package holds


def test_peak_memory_is_the_process_own():
    held = np.ones(MANY, dtype=np.uint8)
    assert peak_memory() >= len(held)
    code = "from pftrack.memory import peak_memory; print(peak_memory())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert 1 << 20 < int(child.stdout) < MANY
