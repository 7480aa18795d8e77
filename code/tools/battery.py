"""Try bad inputs over all commands and formats: does each end in one clear line? (make battery)

python tools/battery.py [--seed N] [--part 0.1] [--only WORDS] [--workers N] [--verbose]
python tools/battery.py --kills N [--seed N]: end commands with SIGKILL instead, and run them again
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

from pftrack.errors import UserError, run_cli


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the cases (1)")
    parser.add_argument("--part", type=float, default=1.0, help="part of the cases, 0 to 1 (1)")
    parser.add_argument("--only", default="", help="words in the format or name of a case")
    parser.add_argument(
        "--workers", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores"
    )
    parser.add_argument("--verbose", action="store_true", help="every case with what it printed")
    parser.add_argument("--kills", type=int, default=0, help="so many kills instead of bad inputs")
    args = parser.parse_args()
    if not 0 < args.part <= 1 or args.workers < 1:
        raise UserError("--part is between 0 and 1, --workers starts at 1")
    if args.kills:
        from laboratory.battery.kills import run_kills

        return run_kills(args.kills, args.seed)
    from laboratory.battery.run import run_battery

    return run_battery(args.seed, args.part, args.only, args.workers, args.verbose)


if __name__ == "__main__":
    run_cli(main)
