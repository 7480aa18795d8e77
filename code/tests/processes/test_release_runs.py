"""The original's nine configuration files run as they are: training, then tracking with its result.

Sizes are made small on the command line, as a user would; the files themselves are not touched.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import release_files
import torch
from training_toy import logged

from pftrack.config import load_config
from pftrack.datasets.infos import load_infos
from pftrack.paths import CODE
from pftrack.registry import build_model
from pftrack.training.mm_config import read_settings


@pytest.mark.parametrize("name", release_files.NAMES)
def test_a_file_of_the_release_trains_and_tracks(
    name: str,
    tmp_path: Path,
    demo_data: Path,
    demo_infos: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = release_files.write(tmp_path / "my_configs", name)
    options = ["--cfg-options", *release_files.small(name, demo_data, demo_infos)]
    run, tracks = tmp_path / "run", tmp_path / "tracks"

    assert release_files.train(config, "--work-dir", run, "--load-from", "none", *options) == 0
    output = capsys.readouterr().out
    assert "training finished" in output and "evaluation.pipeline (evaluation is" in output
    assert [line[:2] for line in logged(run)] == [(1, 1), (1, 2)]

    where = ["--jsonfile_prefix", tracks, "--format-only"]
    assert release_files.track(config, run / "iter_2.pth", *where, *options) == 0
    assert len(json.loads((tracks / "results_nusc.json").read_text())["results"]) == 6


def test_what_is_tracked_is_test_tracking(
    tmp_path: Path,
    demo_data: Path,
    demo_infos: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As in the original's tool; where its info file has an old name, ``data.val``'s is taken."""
    name = "detr3d/f3_q500_800x320"
    config = release_files.write(tmp_path, name)
    options = release_files.small(name, demo_data, demo_infos)
    model = build_model(load_config(config, options).model)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "random.pth")

    def tokens(*changes: str) -> list[str]:
        where = ["--jsonfile_prefix", tmp_path / "tracks", "--format-only", "--cfg-options"]
        status = release_files.track(config, tmp_path / "random.pth", *where, *options, *changes)
        assert status == 0
        return list(json.loads((tmp_path / "tracks" / "results_nusc.json").read_text())["results"])

    frames = {s: [info["token"] for info in load_infos(p).infos] for s, p in demo_infos.items()}
    assert tokens(f"data.test_tracking.ann_file={demo_infos['train']}") == frames["train"]
    old = f"data.test_tracking.ann_file={tmp_path / 'tracking_infos_val.pkl'}"
    capsys.readouterr()
    assert tokens(old) == frames["val"]
    said = capsys.readouterr().out
    assert "tracking_infos_val.pkl, using data.val's" in said and str(demo_infos["val"]) in said

    command = [config, tmp_path / "random.pth", "--format-only", "--cfg-options", *options, old]
    assert release_files.track(*command, "data.val.ann_file=missing.pkl") == 2
    assert "no info file" in capsys.readouterr().err


def test_the_release_copied_over_ours(
    tmp_path: Path, demo_data: Path, demo_infos: dict[str, Path]
) -> None:
    """Its ``projects/configs`` over this one's: its files and those that are left of ours work."""
    configs = tmp_path / "code" / "projects" / "configs"
    shutil.copytree(CODE / "projects" / "configs", configs)
    for name in release_files.NAMES:
        release_files.write(configs, name)
    for path in sorted(configs.glob("tracking/*/*.py")):
        assert read_settings(load_config(path)).max_epochs > 0
    name = "petr/f1_q500_800x320"
    options = release_files.small(name, demo_data, demo_infos)
    command = [configs / "tracking" / f"{name}.py", "--work-dir", tmp_path / "run", "--dry-run"]
    assert release_files.train(*command, "--cfg-options", *options) == 0
