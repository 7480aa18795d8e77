"""The documents are true: links lead somewhere, targets, variables, files and options exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "code"
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docker").glob("*.md")]
    + [*(ROOT / "checkpoints").glob("*.md")]
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


def anchors(text: str) -> set[str]:
    """GitHub's anchors of a document's headings."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path) if path else document
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            broken.append(target)
    assert not broken


def test_every_document_is_reached_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [p.name for p in (ROOT / "docs").glob("*.md") if f"docs/{p.name}" not in text]
    assert not missing


@cache
def makefile() -> tuple[set[str], set[str]]:
    """(targets, variables) of the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {
        t for line in re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE) for t in line.split()
    }
    return targets, set(re.findall(r"^([A-Z_]+) \?=", text, re.MULTILINE))


def test_make_commands_name_targets_and_variables_that_exist() -> None:
    targets, variables = makefile()
    found = commands("make ")
    assert len(found) > 20
    wrong = []
    for document, command in found:
        for word in shlex.split(command)[1:]:
            name, equals, _ = word.partition("=")
            if word.startswith("-") or name in PLACEHOLDERS:
                continue
            if name.strip("[]") not in (variables if equals else targets):
                wrong.append((document, command, word))
    assert not wrong


def test_files_that_documents_name_exist() -> None:
    """Paths below code/ in backquotes, and what python and bash are to run."""
    wrong = []
    for start in ("python tools/", "bash tools/", "python ../", "projects/", "tools/", "scripts/"):
        for document, command in commands(start):
            words = command.split()
            path = words[1] if words[0] in ("python", "bash") else words[0]
            path = path.split("::")[0].rstrip(".,:")
            if any(c in path for c in "<>*{}$") or path.startswith("tools/...") or "..." in path:
                continue
            if not ((CODE / path).exists() or (ROOT / path).exists()):
                wrong.append((document, command))
    assert not wrong


def test_options_of_command_lines_exist() -> None:
    """Every --option that a document gives to a tool is in the help of that tool or sub-command."""
    given: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    for document, command in commands("python tools/"):
        words = command.split()
        has_sub = len(words) > 2 and re.fullmatch(r"[a-z][a-z_-]+", words[2])
        tool = (words[1], words[2]) if has_sub else (words[1],)
        for word in words[2:]:
            if option := re.match(r"\[?(--[a-z][\w-]+)", word):
                given.setdefault(tool, set()).add((option[1], document))
    assert given
    wrong = []
    for tool, options in given.items():
        run = subprocess.run(
            [sys.executable, *tool, "--help"], cwd=CODE, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, (tool, run.stderr)
        wrong += [
            (tool, option, document) for option, document in options if option not in run.stdout
        ]
    assert not wrong
