"""Compare this code with a folder of golden files: largest errors per array, pass or fail."""

import os
import sys
from pathlib import Path

# Before torch: DETR3D's head amplifies last digits a thousandfold, so check in the rounding of the
# references (see parity/arithmetic.py): MKL's oldest code path and PyTorch's AVX2 kernels.
os.environ["MKL_CBWR"] = "COMPATIBLE"
os.environ["ATEN_CPU_CAPABILITY"] = "avx2"

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pftrack  # noqa: F401, compatibility first
from pftrack.arguments import Parser
from pftrack.errors import run_cli


def main() -> int:

    parser = Parser(description=__doc__)
    parser.add_argument("golden", help="folder of golden files")
    parser.add_argument("--json", action="store_true", help="print the table as json")
    parser.add_argument("--only", default="", metavar="PREFIX", help="files beginning with PREFIX")
    args = parser.parse_args()

    from laboratory.parity.run import report

    return report(args.golden, args.only, args.json)


if __name__ == "__main__":
    run_cli(main)
