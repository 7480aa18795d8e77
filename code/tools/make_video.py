"""Draw a results file as videos: six cameras and the bird's-eye view, scene by scene."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pftrack.commands.make_video import main
from pftrack.errors import run_cli

if __name__ == "__main__":
    run_cli(main)
