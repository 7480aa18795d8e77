"""The commands of docs/own_data.md, as they stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from documents import FENCE

from pftrack.paths import CODE, REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "own_data.md"


@pytest.mark.slow
def test_the_ten_commands(tmp_path: Path) -> None:
    """laboratory.own_data.write, import_data.py and the others; in a folder of the test."""
    text = DOCUMENT.read_text(encoding="utf-8")
    block = next(b for language, b in FENCE.findall(text) if language == "bash")
    lines = [line.replace("work_dirs/own", str(tmp_path)) for line in block.splitlines()]
    assert len(lines) == 10
    said = []
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "python"
        environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(CODE)}
        done = subprocess.run(
            [sys.executable, *words[1:]], cwd=CODE, env=environment, capture_output=True, text=True
        )
        # After two steps the tracker may find nothing: status 1 says so.
        assert done.returncode in ((0, 1) if "eval.py" in line else (0,)), done.stderr[-2000:]
        said.append(done.stdout)
    assert "evaluated on scene-" in said[3] and "1 of 1 scenes, 4 key frames" in said[4]
    assert re.search(r"AMOTA +AMOTP", said[7]) and "velocity  kalman" in said[7]
    summary = json.loads((tmp_path / "eval" / "metrics_summary.json").read_text())
    assert summary["split"] == "first"
    report = json.loads((tmp_path / "eval" / "report.json").read_text())
    assert report["run"]["split"].endswith("first.txt")
    assert len(list((tmp_path / "video").rglob("*.png"))) == 1
