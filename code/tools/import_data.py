"""Import recordings as nuScenes tables and info files."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pftrack.commands.import_data import main
from pftrack.errors import run_cli

if __name__ == "__main__":
    run_cli(main)
