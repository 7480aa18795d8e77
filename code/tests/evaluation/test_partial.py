"""Results of some of a split's scenes: those are evaluated, the others named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from laboratory.random_scenes import RandomScenesConfig, write_random_scenes
from pftrack.commands import evaluate
from pftrack.errors import UserError, run_cli
from pftrack.evaluation.run import Evaluation, evaluate_file

VERSION = "v1.0-mini"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_random_scenes(folder, VERSION, RandomScenesConfig(("scene-0103", "scene-0916")), 3)
    return folder


@pytest.fixture
def partial(root: Path, tmp_path: Path) -> tuple[Path, str, str]:
    """Results without the last scene; the names of those that are left and that is missing."""
    scenes = {
        s["token"]: s["name"] for s in json.loads((root / VERSION / "scene.json").read_text())
    }
    samples = json.loads((root / VERSION / "sample.json").read_text())
    scene_of = {s["token"]: scenes[s["scene_token"]] for s in samples}
    content = json.loads((root / "results.json").read_text())
    names = list(dict.fromkeys(scene_of[token] for token in content["results"]))
    kept = {t: boxes for t, boxes in content["results"].items() if scene_of[t] != names[-1]}
    content["results"] = kept
    path = tmp_path / "partial.json"
    path.write_text(json.dumps(content))
    (root / VERSION / "splits.json").write_text(json.dumps({"own": names[:-1]}))
    return path, ", ".join(names[:-1]), names[-1]


def metrics(evaluation: Evaluation) -> dict[str, object]:
    return evaluation.tracking.summary()


def test_a_part_is_evaluated_as_a_split_of_its_own(root: Path, partial: tuple) -> None:
    path, _names, missing = partial
    part = evaluate_file(path, root, VERSION, "val")
    own = evaluate_file(path, root, VERSION, "own", strict=True)
    assert repr(metrics(part)) == repr(metrics(own))  # NaN equals NaN
    assert part.missing == (missing,) and own.missing == ()
    here = len(own.frames.scene_names)
    assert part.partial == f"partial: {here} of {here + 1} scenes (without {missing})"
    assert own.partial is None


def test_the_official_rule_is_an_option(root: Path, partial: tuple, tmp_path: Path) -> None:
    path, _names, _missing = partial
    with pytest.raises(UserError, match="samples of the split are missing"):
        evaluate_file(path, root, VERSION, "val", strict=True)
    content = json.loads(path.read_text())
    del content["results"][next(iter(content["results"]))]  # a part of a scene
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"1 of \d+ samples of the split are missing"):
        evaluate_file(path, root, VERSION, "val")
    path.write_text(json.dumps({**content, "results": {}}))
    with pytest.raises(UserError, match="samples of the split are missing"):
        evaluate_file(path, root, VERSION, "val")


def test_the_table_says_so(
    root: Path,
    partial: tuple,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, _names, missing = partial
    arguments = [str(path), "--dataroot", str(root), "--version", VERSION, "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["evaluate.py", *arguments])
    with pytest.raises(SystemExit) as end:
        run_cli(evaluate.main)
    assert end.value.code == 0
    assert f"(without {missing})" in capsys.readouterr().out
    summary = json.loads((tmp_path / "metrics_summary.json").read_text())
    assert summary["missing_scenes"] == [missing]
    monkeypatch.setattr("sys.argv", ["evaluate.py", *arguments, "--strict-split"])
    with pytest.raises(SystemExit) as end:
        run_cli(evaluate.main)
    assert end.value.code == 2
