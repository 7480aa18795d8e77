"""The original's nine configuration files run as they are: training, then tracking with its result.

Sizes are made small on the command line, as a user would; the files themselves are not touched.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import release_files
from training_toy import logged

from projects.tracking_plugin.errors import run_cli

CODE = Path(__file__).resolve().parents[1]


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_tool", CODE / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TRAIN, TEST_TRACKING = load_tool("train"), load_tool("test_tracking")


@pytest.mark.parametrize("name", release_files.NAMES)
def test_a_file_of_the_release_trains_and_tracks(
    name: str,
    tmp_path: Path,
    demo_data: Path,
    demo_infos: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = release_files.write(tmp_path / "my_configs", name)
    options = ["--cfg-options", *release_files.small(name, demo_data, demo_infos)]
    monkeypatch.chdir(tmp_path)

    command = [str(config), "--work-dir", "run", "--device", "cpu", "--load-from", "none"]
    with pytest.raises(SystemExit) as left:
        run_cli(lambda: TRAIN.main([*command, *options]))
    assert left.value.code == 0
    output = capsys.readouterr().out
    assert "training finished" in output and "evaluation.pipeline (evaluation is" in output
    assert [line[:2] for line in logged(tmp_path / "run")] == [(1, 1), (1, 2)]

    command = ["test_tracking.py", str(config), "run/iter_2.pth", "--jsonfile_prefix", "tracks"]
    monkeypatch.setattr(sys, "argv", [*command, "--format-only", "--gpus", "0", *options])
    with pytest.raises(SystemExit) as left:
        run_cli(TEST_TRACKING.main)
    assert left.value.code == 0
    assert len(json.loads(Path("tracks/results_nusc.json").read_text())["results"]) == 6
