"""Execute every notebook and fail when one fails; git keeps them with the outputs of --store."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from pftrack.arguments import Parser, whole
from pftrack.errors import UserError, run_cli

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all in notebooks/")
    parser.add_argument(
        "--out",
        type=Path,
        default=REPOSITORY / "code" / "work_dirs" / "notebooks",
        help="folder for the executed copies (default: work_dirs/notebooks)",
    )
    parser.add_argument("--fast", action="store_true", help="few frames, as the tests run them")
    parser.add_argument(
        "--timeout", type=whole(1), default=900, help="seconds per cell (default 900)"
    )
    parser.add_argument(
        "--store",
        action="store_true",
        help="execute as the tests do and keep the outputs in the notebooks themselves, for git",
    )
    parser.add_argument(
        "--check", action="store_true", help="fail if a file in git is not as --store leaves it"
    )
    args = parser.parse_args()

    notebooks = args.notebooks or sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
    for path in notebooks:
        if not path.is_file():
            raise UserError(f"no notebook '{path}'")
    if not notebooks:
        raise UserError(f"no notebooks in '{REPOSITORY / 'notebooks'}'")

    from pftrack.commands import notebook_files

    if args.check:
        others = [path.name for path in notebooks if not notebook_files.is_tidy(path)]
        if others:
            raise UserError(
                f"{', '.join(others)}: not as stored, run tools/run_notebooks.py --store"
            )
        return 0
    for path in notebooks:
        fast = args.fast or args.store
        seconds = notebook_files.execute(path, args.out, fast=fast, timeout=args.timeout)
        if args.store:
            notebook_files.store(args.out / path.name, path)
        print(f"{path.name}: {seconds:.0f} s -> {args.out / path.name}", flush=True)
    return 0


if __name__ == "__main__":
    run_cli(main)
