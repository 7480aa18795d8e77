"""Execute every notebook and fail when one fails; git keeps them without outputs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse

from pftrack.errors import UserError, run_cli

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all in notebooks/")
    parser.add_argument(
        "--out",
        type=Path,
        default=REPOSITORY / "code" / "work_dirs" / "notebooks",
        help="folder for the executed copies (default: work_dirs/notebooks)",
    )
    parser.add_argument("--fast", action="store_true", help="few frames, as the tests run them")
    parser.add_argument("--timeout", type=int, default=900, help="seconds per cell (default 900)")
    parser.add_argument("--strip", action="store_true", help="remove outputs from the files in git")
    parser.add_argument("--check", action="store_true", help="fail if a file in git has outputs")
    args = parser.parse_args()

    notebooks = args.notebooks or sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
    for path in notebooks:
        if not path.is_file():
            raise UserError(f"no notebook '{path}'")
    if not notebooks:
        raise UserError(f"no notebooks in '{REPOSITORY / 'notebooks'}'")

    from pftrack.commands import notebook_files

    if args.strip or args.check:
        dirty = [path for path in notebooks if notebook_files.strip(path, write=args.strip)]
        if dirty and args.check:
            names = ", ".join(path.name for path in dirty)
            raise UserError(f"outputs in {names}: run tools/run_notebooks.py --strip")
        return 0
    for path in notebooks:
        seconds = notebook_files.execute(path, args.out, fast=args.fast, timeout=args.timeout)
        print(f"{path.name}: {seconds:.0f} s -> {args.out / path.name}", flush=True)
    return 0


if __name__ == "__main__":
    run_cli(main)
