"""PF-Track: multi-camera 3D tracking with past and future reasoning.

The public names are resolved on first use, so that command lines can answer ``--help`` and
argument errors without importing torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projects.tracking_plugin import compat

compat.install()

if TYPE_CHECKING:
    from projects.tracking_plugin.api import Tracker, load_tracker
    from projects.tracking_plugin.structures import ClipBatch, Frame, Track

_PUBLIC = {
    "load_tracker": "projects.tracking_plugin.api",
    "Tracker": "projects.tracking_plugin.api",
    "Frame": "projects.tracking_plugin.structures",
    "Track": "projects.tracking_plugin.structures",
    "ClipBatch": "projects.tracking_plugin.structures",
}

__all__ = ["ClipBatch", "Frame", "Track", "Tracker", "load_tracker"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        import importlib

        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
