"""Optional parts of the set-up: libraries that most users do without."""

from __future__ import annotations

import importlib
from typing import Any

from pftrack.errors import UserError

# What `make setup RUNTIME=native ARGS=PART` installs, and its size.
PARTS = {"rerun": "700 MB", "timm": "3 MB", "argoverse": "150 MB"}


def require(module: str, part: str, needs_it: str, otherwise: str = "") -> Any:
    """A module of an optional part.

    Args:
        module: its full name.  part: of :data:`PARTS`.
        needs_it: the user's thing that cannot do without.  otherwise: how to go without.

    Raises:
        UserError: the part is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise UserError(
            f"{needs_it} needs {library}, which is not installed here: 'make setup RUNTIME=native "
            f"ARGS={part}' adds it ({PARTS[part]}) to the native environment{otherwise}"
        ) from error
