"""Which module imports which, read from the programs without running them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from pftrack.paths import CODE


def module_name(path: Path) -> str:
    """``pftrack/a/b.py`` is ``pftrack.a.b``, ``pftrack/a/__init__.py`` is ``pftrack.a``."""
    return ".".join(path.relative_to(CODE).with_suffix("").parts).removesuffix(".__init__")


def modules(*folders: str) -> dict[str, Path]:
    """The modules below folders of ``code/``, by name."""
    paths = (path for folder in folders for path in sorted((CODE / folder).rglob("*.py")))
    return {module_name(path): path for path in paths}


@functools.cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Everything that a program imports, also inside functions and for types only."""
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def has_logic(path: Path) -> bool:
    """A function or a class is defined."""
    return any(isinstance(n, (ast.FunctionDef, ast.ClassDef)) for n in _parsed(path).body)
