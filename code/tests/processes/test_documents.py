"""The commands in the documents exist: options of the tools, targets and variables of make."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys

import pytest
from documents import PLACEHOLDERS, commands

from pftrack.paths import CODE, REPOSITORY


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


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_commands_pass_a_dry_run() -> None:
    """make -n: every variable's value is accepted, and a command comes out of it."""
    seen = set()
    for document, command in commands("make "):
        words = [w for w in shlex.split(command)[1:] if w != "-n"]
        if not words or set(PLACEHOLDERS) & {w.partition("=")[0] for w in words}:
            continue
        if tuple(words) in seen:
            continue
        seen.add(tuple(words))
        run = subprocess.run(
            ["make", "-n", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        needs = re.search(r"needs [A-Z]+=", run.stderr) is not None
        assert run.returncode == 0 or (needs and len(words) == 1), (document, command, run.stderr)
    assert len(seen) > 30
