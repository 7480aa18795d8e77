"""The original's name of :mod:`pftrack`: ``projects.tracking_plugin.X`` is ``pftrack.X``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import pftrack

# Modules and packages that stood elsewhere under the original's name.
_MOVED = {
    "api": "tracking.api",
    "inference": "tracking",
    "mm": "compatibility.mm",
    "models.checkpoint_io": "checkpoints.reading",
}


def _ours(name: str) -> str:
    """Our name of a module below ``projects.tracking_plugin``."""
    for theirs, ours in _MOVED.items():
        if name == theirs or name.startswith(f"{theirs}."):
            return f"pftrack.{ours}{name.removeprefix(theirs)}"
    return f"pftrack.{name}"


class _Alias(MetaPathFinder, Loader):
    """Finds the module of :mod:`pftrack` itself, not a copy of it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        prefix, _, rest = name.partition(f"{__name__}.")
        if prefix or not rest:
            return None
        return ModuleSpec(name, self, origin=_ours(rest))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(str(spec.origin))
        spec.loader_state = module.__spec__  # the import machinery is about to replace it
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


sys.meta_path.insert(0, _Alias())
sys.modules[__name__] = pftrack
