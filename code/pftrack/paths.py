"""Where this project's folders lie; the package is used from its repository."""

from __future__ import annotations

import os
from pathlib import Path

CODE = Path(__file__).resolve().parents[1]
REPOSITORY = CODE.parent
CHECKPOINTS_DIR = REPOSITORY / "checkpoints"
RETRAINING_RECORD = CHECKPOINTS_DIR / "retraining.json"
CONFIGS = CODE / "projects" / "configs" / "tracking"


def portable(path: str | os.PathLike[str]) -> Path:
    """A path as it is written here or on Windows, whose backslashes no name of ours has."""
    return Path(os.fspath(path).replace("\\", "/"))
