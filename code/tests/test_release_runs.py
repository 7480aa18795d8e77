"""The original's nine configuration files run as they are: training, then tracking with its result.

Sizes are made small on the command line, as a user would; the files themselves are not touched.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import release_files
from training_toy import logged


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
