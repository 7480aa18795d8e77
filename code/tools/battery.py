"""Try bad inputs over all commands and formats: does each end in one clear line? (make battery)

python tools/battery.py [--seed N] [--part 0.1] [--only WORDS] [--workers N] [--verbose]
python tools/battery.py --kills N [--seed N]: end commands with SIGKILL instead, and run them again
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

from pftrack.arguments import MOST_PROCESSES, Parser, real, whole
from pftrack.errors import run_cli


def main() -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=whole(0), default=1, help="of the cases (1)")
    parser.add_argument(
        "--part", type=real(0.001, 1), default=1.0, help="part of the cases, 0 to 1 (1)"
    )
    parser.add_argument("--only", default="", help="words in the format or name of a case")
    parser.add_argument(
        "--workers",
        type=whole(1, MOST_PROCESSES),
        default=len(os.sched_getaffinity(0)),
        help="default: all cores",
    )
    parser.add_argument("--verbose", action="store_true", help="every case with what it printed")
    parser.add_argument(
        "--kills", type=whole(0), default=0, help="so many kills instead of bad inputs"
    )
    args = parser.parse_args()
    if args.kills:
        from laboratory.battery.kills import run_kills

        return run_kills(args.kills, args.seed)
    from laboratory.battery.run import run_battery

    return run_battery(args.seed, args.part, args.only, args.workers, args.verbose)


if __name__ == "__main__":
    run_cli(main)
