"""``pftrack COMMAND ...``: what ``python tools/COMMAND.py`` does, wherever one stands."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

from pftrack.errors import UserError, run_cli

# Subcommand -> module of this package with a ``main`` that reads sys.argv.
COMMANDS = {
    "data": "pftrack.commands.create_data",
    "train": "pftrack.commands.train",
    "track": "pftrack.commands.track",
    "eval": "pftrack.commands.eval",
    "detect": "pftrack.commands.detect",
    "export": "pftrack.commands.export",
    "evaluate": "pftrack.commands.evaluate",
    "report": "pftrack.commands.report",
    "baseline": "pftrack.commands.baseline",
    "compare": "pftrack.commands.compare",
    "video": "pftrack.commands.make_video",
    "view": "pftrack.commands.view",
    "import": "pftrack.commands.import_data",
    "split": "pftrack.commands.split",
    "checkpoints": "pftrack.commands.download_checkpoints",
    "inspect": "pftrack.commands.inspect_checkpoint",
    "config": "pftrack.config",
    "reproduce": "pftrack.commands.reproduce",
    "retrain": "pftrack.commands.retrain",
    "demo": "pftrack.commands.demo",
    "doctor": "pftrack.commands.doctor",
}


def main() -> None:
    """Entry of the console script."""
    run_cli(_dispatch)


def _dispatch() -> int | None:
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(_overview())
        return 0
    if name not in COMMANDS:
        raise UserError(f"no command '{name}': one of {', '.join(COMMANDS)}")
    sys.argv = [f"pftrack {name}", *sys.argv[2:]]
    return importlib.import_module(COMMANDS[name]).main()


def _overview() -> str:
    """Every command with its first line of documentation; imports none of them."""
    lines = ["usage: pftrack COMMAND [arguments; COMMAND --help lists them]", ""]
    package = Path(__file__).parents[2]
    for name, module in COMMANDS.items():
        source = package.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        summary = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
        lines.append(f"  {name:12} {summary}")
    return "\n".join(lines)
