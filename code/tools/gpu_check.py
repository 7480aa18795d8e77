"""Check parity, waits, speed and memory on this machine's GPU; see laboratory/gpu_check/run.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pftrack  # noqa: F401, compatibility first
from pftrack.errors import run_cli


def main() -> int:
    from laboratory.gpu_check.run import main

    return main()


if __name__ == "__main__":
    run_cli(main)
