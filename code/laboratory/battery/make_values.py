"""Values of make's variables that would run something if anything read them as code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from laboratory.battery.worker import Case
from pftrack.paths import REPOSITORY

NASTY = (
    "x'; touch MARK; echo '",
    'x"; touch MARK; echo "',
    "$(touch MARK)",
    "`touch MARK`",
    "x; touch MARK",
    "x && touch MARK #",
    "x | touch MARK",
    "$(shell touch MARK)",
    "${shell touch MARK}",
    "$$(touch MARK)",
    "--help; touch MARK",
    "a[$(touch MARK)]",
    "\u2019; touch MARK; \u00fc",
    "x\ntouch MARK\n",
    "\\'; touch MARK; \\'",
    "'\"'; touch MARK",
)
TARGETS = (
    *("setup", "demo", "test", "data", "checkpoints", "inspect", "train-f1", "train-f3", "eval"),
    *("detect", "report", "reproduce", "video", "jupyter", "parity", "bench", "build", "shell"),
)
# Stand-ins for what starts something.
_STARTERS = ("run", "setup", "build", "test_images", "clean")


def make_cases(draw: Callable[[st.SearchStrategy[Any], int, int], list[Any]]) -> Iterator[Case]:
    """Variables, targets and ways in which a value comes: command line, environment, .env."""
    if shutil.which("make") is None:
        return
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    names = re.findall(r"^([A-Z_]+) \?=", text, re.MULTILINE)
    strategy = st.tuples(
        st.sampled_from(names),
        st.sampled_from(TARGETS),
        st.sampled_from(NASTY),
        st.sampled_from(["command line", "environment", ".env"]),
    )
    for name, target, value, how in draw(strategy, 220, 130):

        def run(
            folder: Path, name: str = name, target: str = target, value: str = value, how: str = how
        ) -> tuple[Callable[[], int | None], list[str]]:
            root = _project(folder)
            return lambda: _make(root, folder, name, target, value, how), []

        yield Case("make", f"{target} {name}={value!r} by {how}", run)


def _project(folder: Path) -> Path:
    root = folder / "project"
    shutil.copytree(REPOSITORY / "scripts", root / "scripts")
    shutil.copy(REPOSITORY / "Makefile", root)
    (root / "checkpoints").mkdir()
    (root / "checkpoints" / "a").touch()
    (root / "code").mkdir()
    for name in _STARTERS:
        (root / "scripts" / f"{name}.sh").write_text("#!/bin/sh\nexit 0\n")
    return root


def _make(root: Path, folder: Path, name: str, target: str, value: str, how: str) -> int:
    value = value.replace("MARK", str(folder / "mark"))
    defaults = {"CKPT": "a", "RESULT": "a", "GOLDEN": "a"}
    needs = {"inspect": "CKPT", "eval": "CKPT", "detect": "CKPT", "report": "RESULT"}
    needs |= {"video": "RESULT", "parity": "GOLDEN"}
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "CUDA_VISIBLE_DEVICES": ""}
    arguments = ["DEVICE=cpu"] if name != "DEVICE" else []
    if target in needs and needs[target] != name:
        arguments.append(f"{needs[target]}={defaults[needs[target]]}")
    if how == "command line":
        arguments.append(f"{name}={value}")
    elif how == "environment":
        environment[name] = value
    else:
        line = value.replace("\n", " ")
        (root / ".env").write_text(f"{name}={line}\n", encoding="utf-8")
    done = subprocess.run(
        ["make", target, *arguments], cwd=root, env=environment, capture_output=True, text=True
    )
    if done.returncode == 0:
        # The value was handed on as it is, or not asked for: what counts is that nothing ran.
        raise SystemExit("handed on as data")
    os.write(2, done.stderr.encode())
    return done.returncode
