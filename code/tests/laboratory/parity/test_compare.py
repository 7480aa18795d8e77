"""make parity: tolerances, weights formula, and the golden files that are quick to check."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from laboratory.parity.check_rules import entry_statistics, standard_errors
from laboratory.parity.check_trajectory import judged_iterations
from laboratory.parity.compare import GoldenFile, Row, compare
from laboratory.parity.inputs import clip_images
from laboratory.parity.run import check_file, golden_files, report
from laboratory.parity.weights import fill, formula
from pftrack.errors import UserError


def passes(ours: object, reference: object, kind: str = "network") -> bool:
    return compare("file", Row("array", ours, reference, kind)).passed


def test_tolerances() -> None:
    assert passes(np.array([10.0]), np.array([10.0101]))  # 1e-4 + 1e-3 * 10
    assert not passes(np.array([10.0]), np.array([10.0103]))
    assert not passes(np.array([1.0]), np.array([1.00001]), "geometry")
    assert passes(torch.tensor([1, 2]), np.array([1, 2]))
    assert not passes(np.array([1, 2]), np.array([1, 3]))  # integers: exact
    assert not passes(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    assert passes(np.array([np.nan]), np.array([np.nan]))
    assert not passes(np.zeros(3), np.zeros(4))
    assert passes({"a": [1]}, {"a": [1]}) and not passes({"a": [1]}, {"a": [2]})


def test_errors_are_reported() -> None:
    row = compare("f", Row("x", np.array([2.0, 1.0]), np.array([1.0, 1.0])))
    assert (row.max_abs, row.max_rel, row.passed) == (1.0, 1.0, False)
    assert row.note == "1 of 2 outside"


def test_formula() -> None:
    assert formula("a.running_var", (50,)).min() >= 1
    assert formula("criterion.code_weights", (10,))[-1] == np.float32(0.2)
    conv = formula("img_neck.x.conv.weight", (64, 16, 3, 3))
    assert conv.std() == pytest.approx(math.sqrt(2 / (16 * 9)), rel=0.05)
    cls = formula("STReasoner.track_cls.6.weight", (10, 256))
    assert np.abs(cls.mean(axis=1)).max() < 1e-6
    assert formula("STReasoner.track_cls.6.bias", (10,)).mean() == pytest.approx(-4, abs=0.2)


def test_shared_entries_take_the_first_key() -> None:
    branch = nn.Linear(2, 2)
    shared = nn.ModuleList([branch, branch])
    fill(shared, prefix="h.")
    np.testing.assert_array_equal(branch.weight.detach(), formula("h.0.weight", (2, 2)))


def test_images_are_zero_outside_of_the_valid_region() -> None:
    image = {"tag": "t", "frames": 1, "pad_shape": [32, 64], "img_shape": [20, 50]}
    img = clip_images(image)
    assert img.shape == (1, 1, 6, 3, 32, 64)
    assert not img[..., 20:, :].any() and not img[..., 50:].any() and img[..., :20, :50].all()


@pytest.mark.parametrize(
    "name", ["g_unit_s0", "state_dict_summary", "e_nusc_s0", "input_check", "h_rules"]
)
def test_quick_golden_files(golden_dir: Path, name: str) -> None:
    rows = list(check_file(GoldenFile(golden_dir / f"{name}.json")))
    assert rows and [row for row in rows if not row.passed] == []


def test_initial_weights_are_the_originals(golden_dir: Path) -> None:
    rows = list(check_file(GoldenFile(golden_dir / "h_init.json")))
    assert len(rows) == 9 * 4 and [row for row in rows if not row.passed] == []


def test_another_distribution_of_initial_weights_is_noticed() -> None:
    """A tenth more spread, another mean, a normal distribution of the same spread."""
    torch.manual_seed(0)
    reference = entry_statistics(torch.empty(65536).uniform_(-1, 1))
    assert standard_errors(entry_statistics(torch.empty(65536).uniform_(-1, 1)), reference) < 5
    for other in (
        torch.empty(65536).uniform_(-1.1, 1.1),
        torch.empty(65536).uniform_(-1, 1) + 0.05,
        torch.randn(65536) / 3**0.5,
    ):
        assert standard_errors(entry_statistics(other), reference) > 6


@pytest.mark.parametrize(
    ("config", "factor", "frames", "judged"),
    [
        ("detr3d/f3_q500_1600x640", 0.001, 3, 4),
        ("petr/f1_q500_800x320", 1, 1, 8),
        ("petr/f3_q500_800x320", 1, 3, 2),
        ("petr/f3_q500_800x320", 0.01, 3, 12),
    ],
)
def test_how_much_of_a_trajectory_is_judged(
    tmp_path: Path, config: str, factor: float, frames: int, judged: int
) -> None:
    meta = {"config": config, "lr_factor": factor, "frames": frames}
    (tmp_path / "h_run_x_s0.json").write_text(json.dumps(meta))
    np.savez(tmp_path / "h_run_x_s0.npz", losses=np.zeros((12, 2)))
    assert judged_iterations(GoldenFile(tmp_path / "h_run_x_s0.json")) == judged


def test_failures_are_rows_and_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "unknown.json").write_text("{}")
    (tmp_path / "input_check.json").write_text(
        json.dumps({"x_T1": {"shape": [1, 1, 6, 3, 16, 16], "sha256": "0", "sum": 0.0,
                             "abs_sum": 0.0, "first": [0, 0, 0, 0]}})
    )  # fmt: skip
    (tmp_path / "g_unit_s9.json").write_text("{}")  # its npz is missing
    assert report(tmp_path, as_json=True) == 1
    rows = json.loads(capsys.readouterr().out)
    verdicts = {(row["file"], row["array"]): row["passed"] for row in rows}
    assert verdicts["input_check", "x_T1.shape"] and not verdicts["input_check", "x_T1.sha256"]
    notes = {row["file"]: row["note"] for row in rows}
    assert "no check for this file" in notes["unknown"]
    assert "check broke" in notes["g_unit_s9"]
    with pytest.raises(UserError, match="does not exist"):
        golden_files(tmp_path / "none")
    with pytest.raises(UserError, match="no golden files"):
        golden_files(tmp_path, only="z")
