"""PF-Track: multi-camera 3D tracking with past and future reasoning.

The public names are resolved on first use, so that command lines can answer ``--help`` and
argument errors without importing torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pftrack.compatibility import libraries as compat

compat.install()

if TYPE_CHECKING:
    from pftrack.structures import ClipBatch, Frame, Track
    from pftrack.tracking.api import Tracker, load_tracker

_PUBLIC = {
    "load_tracker": "pftrack.tracking.api",
    "Tracker": "pftrack.tracking.api",
    "Frame": "pftrack.structures",
    "Track": "pftrack.structures",
    "ClipBatch": "pftrack.structures",
}

__all__ = ["ClipBatch", "Frame", "Track", "Tracker", "load_tracker"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        import importlib

        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
