"""``make gpu-check DEVICE=cpu``: every part at demo size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from laboratory.gpu_check.run import parts
from pftrack.paths import CODE


def gpu_check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/gpu_check.py", "--device", "cpu", *map(str, arguments)]
    return subprocess.run(command, cwd=CODE, capture_output=True, text=True)


@pytest.mark.slow
def test_every_part_walks_through_and_passes(tmp_path: Path) -> None:
    out = tmp_path / "check.json"
    done = gpu_check("--out", out, "--budget", "3600")
    report = json.loads(out.read_text())
    found = {name: part["problems"] for name, part in report["parts"].items()}
    assert found == {name: [] for name in parts(small=True)}
    assert done.returncode == 0, done.stderr
    assert f"written to {out}" in done.stdout and "WRONG" not in done.stdout


def test_a_part_that_is_none(tmp_path: Path) -> None:
    done = gpu_check("--only", "speed", "--out", tmp_path / "check.json")
    assert done.returncode == 2 and done.stderr == "error: --only speed: no such part\n"
    assert not (tmp_path / "check.json").exists()
