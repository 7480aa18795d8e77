"""Command lines that no other test runs."""

from __future__ import annotations

import errno
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from laboratory.random_scenes import (
    RandomScenesConfig,
    write_random_scenes,
)
from pftrack.errors import run_cli
from pftrack.paths import CODE


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command], cwd=CODE, capture_output=True, text=True, check=False)


def test_bench_lists_benchmarks_and_refuses_others() -> None:
    listed = run(sys.executable, "tools/bench.py")
    assert listed.returncode == 0
    for name in ("attention_memory", "converter", "loader", "metrics", "track", "train"):
        assert f"  {name} " in listed.stdout
    refused = run(sys.executable, "tools/bench.py", "speed")
    assert refused.returncode == 2 and refused.stderr.startswith("error: no benchmark 'speed'")


def test_metrics_benchmark_compares_both_engines() -> None:
    """One scene; with fewer thresholds, so that the row is extrapolated."""
    done = run(
        *(sys.executable, "tools/bench.py", "metrics", "--sizes", "40", "--objects", "10"),
        *("--all-thresholds-up-to", "0", "--thresholds", "2"),
    )
    assert done.returncode == 0, done.stderr
    row = done.stdout.splitlines()[1].split()
    assert row[0] == "40" and "~" in row and float(row[-1]) < 1e-9


def test_report_of_a_results_file(tmp_path: Path) -> None:
    scenes = RandomScenesConfig(("scene-0103",), frames=6)
    result = write_random_scenes(tmp_path, "v1.0-mini", scenes, seed=2)
    command = [sys.executable, "tools/report.py", str(result), "--dataroot", str(tmp_path)]
    command += ["--version", "v1.0-mini", "--split", "mini_val", "--out", str(tmp_path / "out")]
    done = run(*command, "--against", str(result))
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"report.html", "report.json", "report.png", "metrics_summary.json"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert '"before":[{"id":' in page and '"sensors"' not in page
    done = run(*command, "--images")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: --images: no info file")
    done = run(*command, "--against", str(tmp_path / "gone.json"))
    assert done.returncode == 2 and "no results file" in done.stderr


def test_parity_of_a_folder(golden_dir: Path, tmp_path: Path) -> None:
    for name in ("g_unit_s0.json", "g_unit_s0.npz"):
        shutil.copy(golden_dir / name, tmp_path)
    done = run(sys.executable, "tools/check_parity.py", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "g_unit_s0" in done.stdout and "FAIL" not in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    platform.machine() != "x86_64" or "AVX" not in torch.backends.cpu.get_cpu_capability(),
    reason="the reference's rounding needs an x86 CPU with AVX2",
)
@pytest.mark.parametrize("name", ["b_head_detr3d_f3_s0", "d_track_detr3d_f3_s0"])
def test_detr3d_is_reproduced_to_the_last_bit(golden_dir: Path, name: str) -> None:
    done = run(sys.executable, "tools/check_parity.py", str(golden_dir), "--only", name, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)
    arrays = {row["array"]: row["max_abs"] for row in rows if row["max_abs"] is not None}
    assert all(row["passed"] for row in rows)
    if name.startswith("b_head"):
        assert arrays["all_cls_scores"] == arrays["all_bbox_preds"] == 0.0
    else:
        assert [arrays[f"f{t}.scores_3d"] for t in range(9)] == [0.0] * 9


@pytest.mark.slow
def test_an_optimiser_run_follows_the_originals(golden_dir: Path) -> None:
    name = "h_run_petr_f1_s0"
    done = run(sys.executable, "tools/check_parity.py", str(golden_dir), "--only", name, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["array"]: row for row in json.loads(done.stdout)}
    assert rows["lr"]["max_rel"] < 1e-12
    assert [rows[f"losses.iteration{i}"]["note"] for i in (7, 8)] == ["", "shown, not judged"]


@pytest.mark.parametrize(
    "command",
    [
        ["bash", "tools/dist_test.sh", "CONFIG", "CKPT"],
        [sys.executable, "tools/detect.py", "nowhere.pth"],
        [sys.executable, "tools/report.py", "nowhere.json"],
        [sys.executable, "tools/check_parity.py", "nowhere"],
    ],
    ids=lambda command: Path(command[1]).name,
)
def test_wrong_arguments_are_one_line_and_exit_2(command: list[str]) -> None:
    done = run(*command)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


def test_a_full_disk_is_one_line_wherever_it_is_met(capsys: pytest.CaptureFixture) -> None:
    def full() -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device", "results.json")

    with pytest.raises(SystemExit) as left:
        run_cli(full)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert (
        said.startswith("error: No space left on device (results.json):") and said.count("\n") == 1
    )

    def bug() -> NoReturn:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    with pytest.raises(FileNotFoundError):
        run_cli(bug)
