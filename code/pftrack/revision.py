"""Which commit of this code runs."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from pftrack.paths import REPOSITORY

UNKNOWN = "unknown"


def git_state() -> dict[str, Any]:
    """``git_commit`` ('unknown' when nothing says it) and ``git_modified``: files differ from it.

    The image holds neither git nor a repository: there PFTRACK_REVISION says it, as
    ``git describe --always --dirty`` would.
    """
    commit = _git("rev-parse", "HEAD")
    if commit != UNKNOWN:
        changes = _git("status", "--porcelain", "--untracked-files=no")
        return {"git_commit": commit, "git_modified": changes not in ("", UNKNOWN)}
    revision = os.environ.get("PFTRACK_REVISION") or UNKNOWN
    return {
        "git_commit": revision.removesuffix("-dirty"),
        "git_modified": revision.endswith("-dirty"),
    }


def _git(*args: str) -> str:
    try:
        run = subprocess.run(
            ["git", *args], cwd=REPOSITORY, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return run.stdout.strip()
