"""The project's documents and the commands that they name."""

from __future__ import annotations

import re

from pftrack.paths import REPOSITORY

DOCUMENTS = sorted(
    path
    for folder in (".", "docs", "docker", "checkpoints")
    for path in (REPOSITORY / folder).glob("*.md")
)
PLACEHOLDERS = ("TARGET", "VARIABLE")
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def commands(start: str) -> list[tuple[str, str]]:
    """(document, command) of every line of a code block, and inline code, that begins so."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        lines = []
        for language, block in FENCE.findall(text):
            if language in ("", "bash", "sh", "console"):
                lines += block.replace("\\\n", " ").splitlines()
        lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
        for line in lines:
            for part in re.split(r"&&|;| {3,}", line.split("  #")[0]):  # columns too
                if part.strip().removeprefix("$ ").startswith(start):
                    found.append((document.name, part.strip().removeprefix("$ ")))
    return sorted(set(found))
