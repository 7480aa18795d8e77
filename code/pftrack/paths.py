"""Where this project's folders lie; the package is used from its repository."""

from __future__ import annotations

from pathlib import Path

CODE = Path(__file__).resolve().parents[1]
REPOSITORY = CODE.parent
CHECKPOINTS_DIR = REPOSITORY / "checkpoints"
RETRAINING_RECORD = CHECKPOINTS_DIR / "retraining.json"
CONFIGS = CODE / "projects" / "configs" / "tracking"
