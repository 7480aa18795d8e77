"""TensorBoard's thread on a full disk: one line, no traceback of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pftrack.paths import CODE

PROGRAM = """
import resource, sys
from pathlib import Path
import torch
from pftrack.errors import run_cli
from pftrack.training.logs import TrainLog

def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    log = TrainLog(Path(sys.argv[1]), True)
    losses = {f"loss_{i}": torch.tensor(float(i)) for i in range(100)}
    try:
        for i in range(8):  # the text of eight lines fits, their scalars do not
            log.add(losses, 0.1, 0.2)
            log.write(i, 1, i + 1, 8, 7 - i, 1e-4)
    finally:
        log.close()

run_cli(main)
"""


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    run = subprocess.run(command, cwd=CODE, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.splitlines() == [
        "error: File too large: make room or use another folder, then try again"
    ]
    assert all(path.stat().st_size < 40_000 for path in tmp_path.glob("*.log*"))
