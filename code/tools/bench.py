"""Run a benchmark and record its numbers; no name: list them."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import laboratory
from pftrack.arguments import Parser, whole
from pftrack.errors import UserError, run_cli

BENCHMARKS = Path(laboratory.__file__).parent / "benchmarks"


def first_paragraph(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


def main() -> int:
    parser = Parser(
        prog="bench.py",
        usage="bench.py NAME [arguments; NAME --help lists them] [options]",
        description=__doc__,
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="of the record (work_dirs/bench/DATE_NAME.json)"
    )
    parser.add_argument(
        "--against", metavar="COMMIT", help="run it alternately here and at this commit"
    )
    parser.add_argument("--rounds", type=whole(1), default=5, help="alternations (5)")
    parser.add_argument(
        "--write-docs",
        nargs="*",
        type=Path,
        metavar="JSON",
        help="without a name: put these records into docs/performance.md",
    )
    options, words = parser.parse_known_args()
    if options.write_docs is not None:
        from laboratory.measuring.page import PAGE, write_page

        if words:
            raise UserError(f"--write-docs runs no benchmark: leave out {' '.join(words)}")
        write_page(options.write_docs)
        print(f"wrote {PAGE}")
        return 0
    modules = {p.stem: p for p in sorted(BENCHMARKS.glob("*.py")) if p.stem != "__init__"}
    if not words or words[0] in ("-h", "--help"):
        list_benchmarks(parser, modules)
        return 0
    name, *arguments = words
    if name not in modules:
        raise UserError(f"no benchmark '{name}': one of {', '.join(modules)}")
    if {"-h", "--help"} & set(arguments):
        print(parser.format_help())  # the options of all; the benchmark adds its own and ends
    return run(name, arguments, options)


def run(name: str, arguments: list[str], options: argparse.Namespace) -> int:
    import importlib

    from laboratory.measuring.machine import OtherWork, disturbed
    from laboratory.measuring.record import Record, cpu_seconds

    if options.against:
        from laboratory.measuring.pairing import pair

        record = pair(name, arguments, options.against, options.rounds)
    else:
        module = importlib.import_module(f"laboratory.benchmarks.{name}")
        others, begun = OtherWork(), cpu_seconds()
        rows = module.run(arguments)
        record = Record.now(name, arguments, others.cores(cpu_seconds() - begun), rows)
        if line := disturbed(record.others):
            print(line)
    path = options.json or record.default_path()
    record.write(path)
    print(f"wrote {path}")
    return 0


def list_benchmarks(parser: argparse.ArgumentParser, modules: dict[str, Path]) -> None:
    import ast

    parser.print_help()
    print("\nbenchmarks:")
    for name, path in modules.items():
        summary = ast.get_docstring(ast.parse(path.read_text())) or ""
        print(f"  {name:18s} {first_paragraph(summary)}")


if __name__ == "__main__":
    run_cli(main)
