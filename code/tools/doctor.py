"""What this machine has and lacks: one line each, in seconds, also before the set-up."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pftrack.commands.doctor import main
from pftrack.errors import run_cli

if __name__ == "__main__":
    run_cli(main)
