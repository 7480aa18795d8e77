"""Train a configuration: one process, on the CPU or one GPU (dist_train.sh starts several)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pftrack.commands.train import main
from pftrack.errors import run_cli

if __name__ == "__main__":
    run_cli(main)
