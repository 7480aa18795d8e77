"""The command ``baseline``: methods, engines, what it refuses; and the columns of the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from laboratory.random_scenes import RandomScenesConfig, write_random_scenes
from pftrack.baseline.run import read_detections
from pftrack.commands import baseline, evaluate
from pftrack.commands.shared import evaluate_and_report
from pftrack.errors import UserError, run_cli
from pftrack.evaluation.config import load_tracking_config
from pftrack.evaluation.ground_truth import load_ground_truth

VERSION = "v1.0-mini"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    scenes = RandomScenesConfig(("scene-0103", "scene-0916"), frames=8)
    result = write_random_scenes(folder, VERSION, scenes, 5)
    content = json.loads(result.read_text())
    for boxes in content["results"].values():
        for box in boxes:
            box["detection_name"] = box.pop("tracking_name")
            box["detection_score"] = box.pop("tracking_score")
            del box["tracking_id"]
    (folder / "detections.json").write_text(json.dumps(content))
    return folder


def run(monkeypatch: pytest.MonkeyPatch, command: object, *arguments: object) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["command", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        run_cli(command.main)  # type: ignore[attr-defined]
    return end.value.code


@pytest.mark.slow
def test_both_methods_and_both_engines(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = ("--dataroot", root, "--version", VERSION)
    assert run(monkeypatch, baseline, root / "detections.json", *data, "--out", tmp_path) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["all", "classes", "velocity", "kalman"]
    columns = dict(zip(("velocity", "kalman"), table[1].split()[1:], strict=True))
    for method, amota in columns.items():
        file = tmp_path / method / "results_nusc.json"
        written = json.loads((file.parent / "metrics_summary.json").read_text())
        assert float(amota) == pytest.approx(written["amota"], abs=5e-4) and written["amota"] > 0
        engines = ("--engine", "both", "--out", tmp_path / "both")
        assert run(monkeypatch, evaluate, file, *data, *engines) == 0  # 1: above 1e-9
        assert "largest difference" in capsys.readouterr().out


def test_identities_do_not_matter(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A tracker's boxes give what the same boxes as detections give."""
    data = ("--dataroot", root, "--version", VERSION, "--method", "velocity")
    for name in ("results", "detections"):
        out = ("--out", tmp_path / name)
        assert run(monkeypatch, baseline, root / f"{name}.json", *data, *out) == 0
    written = [
        (tmp_path / name / "velocity" / "results_nusc.json").read_bytes()
        for name in ("results", "detections")
    ]
    assert written[0] == written[1]


def test_only_tracking_classes_are_linked(root: Path, tmp_path: Path) -> None:
    content = json.loads((root / "detections.json").read_text())
    before = sum(map(len, content["results"].values()))
    boxes = next(boxes for boxes in content["results"].values() if boxes)
    boxes.append({**boxes[0], "detection_name": "barrier"})
    (tmp_path / "more.json").write_text(json.dumps(content))
    names = load_tracking_config().class_names
    frames = load_ground_truth(root, VERSION, "val", names).frames
    found = read_detections(tmp_path / "more.json", frames)
    assert sum(map(len, found.values())) == before and len(found) == len(frames)


def test_the_report_has_the_columns(root: Path, tmp_path: Path, capsys) -> None:
    evaluate_and_report(root / "results.json", str(root), VERSION, "val", tmp_path, baseline=True)
    assert "tracker  velocity  kalman" in " ".join(capsys.readouterr().out.split("\n")).replace(
        "all classes  ", ""
    )
    report = json.loads((tmp_path / "report.json").read_text())["run"]["baselines"]
    assert set(report) == {"velocity", "kalman"} and report["kalman"]["amota"] > 0
    assert 'id="baselines"' in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.popitem(), "1 samples of its scenes are missing, the first is"),
        (lambda r: r.update({"abc": []}), "sample 'abc' is not in the evaluated split"),
        (lambda r: r.clear(), "no sample in this results file"),
    ],
)
def test_wrong_detections_are_one_line(
    root: Path, tmp_path: Path, monkeypatch, capsys, change, message
):
    content = json.loads((root / "detections.json").read_text())
    change(content["results"])
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(content))
    data = ("--dataroot", root, "--version", VERSION, "--out", tmp_path / "out")
    assert run(monkeypatch, baseline, bad, *data) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="no results file"):
        monkeypatch.setattr("sys.argv", ["baseline", str(tmp_path / "none.json")])
        baseline.main()
