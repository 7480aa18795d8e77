"""Run a benchmark; no name: list them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import laboratory
from pftrack.errors import UserError, run_cli

BENCHMARKS = Path(laboratory.__file__).parent / "benchmarks"


def first_paragraph(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


def main() -> int:
    import ast
    import importlib

    modules = {p.stem: p for p in sorted(BENCHMARKS.glob("*.py")) if p.stem != "__init__"}
    names = [n for n, p in modules.items() if "def run(" in p.read_text()]
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(f"usage: bench.py NAME [arguments; NAME --help lists them]\n\n{__doc__}\n")
        for name in names:
            summary = ast.get_docstring(ast.parse(modules[name].read_text())) or ""
            print(f"  {name:18s} {first_paragraph(summary)}")
        return 0
    if sys.argv[1] not in names:
        raise UserError(f"no benchmark '{sys.argv[1]}': one of {', '.join(names)}")
    module = importlib.import_module(f"laboratory.benchmarks.{sys.argv[1]}")
    return module.run(sys.argv[2:])


if __name__ == "__main__":
    run_cli(main)
