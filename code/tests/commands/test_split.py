"""The command ``split``: conditions, numbers, both places to write to, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from laboratory.random_scenes import RandomScenesConfig, write_random_scenes
from pftrack.commands import evaluate, split
from pftrack.errors import run_cli
from pftrack.nuscenes.table_files import write_tables

VERSION = "v1.0-mini"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six scenes: two places, every second by night, every third in rain."""
    logs = [{"token": f"log{i}", "location": ("boston", "singapore")[i]} for i in range(2)]
    scenes = [
        {
            "name": f"scene-{i}",
            "token": f"token{i}",
            "log_token": f"log{i // 3}",
            "nbr_samples": 10 + i,
            "description": ("Night, bridge" if i % 2 else "Day") + (", Rain" if i % 3 == 0 else ""),
        }
        for i in (3, 0, 1, 2, 4, 5)
    ]
    write_tables(tmp_path / VERSION, [{"log": logs, "scene": scenes}])
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, module: object, *arguments: object) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["command", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        run_cli(module.main)  # type: ignore[attr-defined]
    return end.value.code


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (("--night",), "135"),
        (("--no-night",), "024"),
        (("--night", "--rain"), "3"),
        (("--location", "singapore"), "345"),
        (("--location", "singapore", "boston", "--no-rain", "--first", "2"), "12"),
        ((), "012345"),
    ],
)
def test_conditions(
    root: Path, monkeypatch, capsys, options: tuple[str, ...], numbers: str
) -> None:
    out = root / "own.txt"
    where = ("--dataroot", root, "--version", VERSION, "--out", out)
    assert run(monkeypatch, split, *where, *options) == 0
    assert out.read_text() == "".join(f"scene-{n}\n" for n in numbers)
    frames = sum(10 + int(n) for n in numbers)
    assert f"{len(numbers)} of 6 scenes, {frames} key frames" in capsys.readouterr().out


def test_a_draw_is_its_seed_and_splits_json_keeps_others(root: Path, monkeypatch) -> None:
    drawn = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        where = ("--dataroot", root, "--version", VERSION, "--name", name)
        assert run(monkeypatch, split, *where, "--random", 3, "--seed", seed) == 0
        drawn.append(json.loads((root / VERSION / "splits.json").read_text())[name])
    assert drawn[0] == drawn[1] != drawn[2] and drawn[0] == sorted(drawn[0])
    assert len(json.loads((root / VERSION / "splits.json").read_text())) == 3
    where = ("--dataroot", root, "--version", VERSION, "--of", "a", "--out", root / "x.txt")
    assert run(monkeypatch, split, *where) == 0
    assert (root / "x.txt").read_text().split() == drawn[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "x.json"), "must end in .txt"),
        (("--name", "val"), "and no official split's"),
        (("--name", "../x"), "letters, digits and _"),
        (("--out", "x.txt", "--location", "paris"), "there are boston, singapore"),
        (("--out", "x.txt", "--night", "--rain", "--location", "boston"), "none of the 6 scenes"),
        (("--out", "x.txt", "--first", "7"), "7 scenes asked for: there are 6"),
        (("--out", "x.txt", "--of", "dusk"), "has no split 'dusk'"),
    ],
)
def test_one_line_for_a_mistake(root: Path, monkeypatch, capsys, options, message: str) -> None:
    monkeypatch.chdir(root)
    assert run(monkeypatch, split, "--dataroot", root, "--version", VERSION, *options) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(root.glob("*.txt")) and not list(root.glob("*.json"))


def test_results_are_evaluated_on_a_part(tmp_path: Path, monkeypatch, capsys) -> None:
    """A split file passes over results of other scenes; the numbers are those of its own alone."""
    scenes = RandomScenesConfig(("scene-0103", "scene-0916"), frames=6)
    result = write_random_scenes(tmp_path, VERSION, scenes, 6)
    part = tmp_path / "part.txt"
    data = ("--dataroot", tmp_path, "--version", VERSION)
    assert run(monkeypatch, split, *data, "--first", 1, "--out", part) == 0
    assert run(monkeypatch, split, *data, "--first", 1, "--name", "part") == 0
    (scene,) = part.read_text().split()
    table = json.loads((tmp_path / VERSION / "scene.json").read_text())
    token = next(row["token"] for row in table if row["name"] == scene)
    samples = json.loads((tmp_path / VERSION / "sample.json").read_text())
    mine = {row["token"] for row in samples if row["scene_token"] == token}
    content = json.loads(result.read_text())
    content["results"] = {t: boxes for t, boxes in content["results"].items() if t in mine}
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps(content))
    summaries = []
    for name, file, of in (("all", result, part), ("alone", alone, "part")):
        out = tmp_path / name
        assert run(monkeypatch, evaluate, file, *data, "--split", of, "--out", out) == 0
        summary = json.loads((out / "metrics_summary.json").read_text())
        assert summary.pop("split") == "part"
        summaries.append({k: v for k, v in summary.items() if k not in ("eval_time", "meta")})
    assert repr(summaries[0]) == repr(summaries[1])
    capsys.readouterr()
    assert run(monkeypatch, evaluate, result, *data, "--split", "part") == 2  # of the official kind
    part.write_text("scene-0001\n")
    assert run(monkeypatch, evaluate, result, *data, "--split", part) == 2
    error = capsys.readouterr().err.splitlines()
    assert "is not in the evaluated split" in error[0]
    assert "are not in" in error[1] and "of another dataset or version?" in error[1]
