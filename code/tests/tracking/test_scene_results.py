"""Sharding, files of finished scenes, the results file, and the table of published numbers."""

from __future__ import annotations

import json
import math
import pickle
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pftrack.checkpoints.manifest import PublishedFile
from pftrack.commands.published import (
    compare,
    comparison_table,
    published_trackers,
    reproduce,
)
from pftrack.devices import choose_devices
from pftrack.errors import UserError
from pftrack.paths import CODE
from pftrack.tracking.frame_arrays import write_pickle
from pftrack.tracking.scene_results import (
    SceneResult,
    SceneStore,
    write_results,
)
from pftrack.tracking.sharding import balance


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 9))
def test_balance_keeps_every_scene_once_and_spreads_the_frames(
    lengths: list[int], parts: int
) -> None:
    scenes = {f"s{i}": n for i, n in enumerate(lengths)}
    shards = balance(scenes, parts)
    assert len(shards) == parts
    assert sorted(s for shard in shards for s in shard) == sorted(scenes)
    loads = [sum(scenes[s] for s in shard) for shard in shards]
    # Whoever has most got its last scene when it had least.
    assert max(loads) - min(loads) <= max(lengths, default=0)
    assert all(shard == [s for s in scenes if s in shard] for shard in shards)


def test_devices() -> None:
    assert choose_devices(0) == ["cpu"]
    assert choose_devices(3, "cpu") == ["cpu"] * 3
    with pytest.raises(UserError, match=r"99 GPU\(s\) asked for, this machine has"):
        choose_devices(99)


def scene(*tokens: str) -> SceneResult:
    box = {
        "sample_token": tokens[0],
        "translation": [1.0, 2.0, 3.0],
        "size": [1.0, 2.0, 3.0],
        "rotation": [1.0, 0.0, 0.0, 0.0],
        "velocity": [0.1, 1 / 3],
        "tracking_name": "car",
        "tracking_score": 0.1 + 0.2,
        "tracking_id": "1-0",
    }
    return SceneResult({t: [dict(box, sample_token=t)] for t in tokens}, {"decode": 0.5})


def test_store_returns_what_was_saved_and_only_for_the_same_run(tmp_path: Path) -> None:
    store = SceneStore(tmp_path, {"checkpoint": "a"})
    store.save("s1", scene("t1", "t2"))
    assert store.load("s1") == scene("t1", "t2")
    assert store.load("s2") is None
    assert SceneStore(tmp_path, {"checkpoint": "a"}).load("s1") is not None
    assert SceneStore(tmp_path, {"checkpoint": "b"}).load("s1") is None


def test_torn_scene_is_run_again(tmp_path: Path) -> None:
    store = SceneStore(tmp_path, {})
    store.save("s1", scene("t1"))
    file = store.folder / "s1.json"
    file.write_text(file.read_text()[:-9])
    assert store.load("s1") is None


def test_results_file_is_the_scenes_in_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.json"
    write_results(path, [scene("t2"), scene("t1", "t3")])
    content = json.loads(path.read_text())
    assert list(content["results"]) == ["t2", "t1", "t3"]
    assert content["results"]["t1"][0]["tracking_score"] == 0.1 + 0.2
    assert content["meta"]["use_camera"] is True and content["meta"]["use_lidar"] is False
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


def test_pickle_has_arrays_of_every_frame(tmp_path: Path) -> None:
    write_results(tmp_path / "r.json", [scene("t1"), SceneResult({"t2": []}, {})])
    write_pickle(tmp_path / "r.json", tmp_path / "r.pkl")
    first, second = pickle.loads((tmp_path / "r.pkl").read_bytes())
    assert first["sample_token"] == "t1" and first["tracking_name"] == ["car"]
    np.testing.assert_array_equal(first["velocity"], [[0.1, 1 / 3]])
    assert second["translation"].shape == (0, 3)


def published(name: str = "f3", amota: float = 0.408) -> PublishedFile:
    return PublishedFile(
        name=name,
        path=f"{name}.pth",
        archive="a.zip",
        members=("x",),
        kind="tracker",
        config="projects/configs/tracking/petr/f3_q5_800x320.py",
        published={"split": "val", "AMOTA": amota, "AMOTP": 1.343},
    )


@pytest.mark.parametrize(
    ("measured", "passed"),
    [(0.408, True), (0.413, True), (0.4029, False), (0.42, False), (math.nan, False)],
)
def test_amota_must_be_within_5_thousandths(measured: float, passed: bool) -> None:
    rows = compare(published(), {"amota": measured, "amotp": 1.4})
    assert [(r.metric, r.passed) for r in rows] == [("AMOTA", passed), ("AMOTP", None)]
    assert rows[1].difference == pytest.approx(0.057)
    table = comparison_table(rows)
    assert ("FAIL" in table) is not passed and "1.343" in table


def test_nothing_is_evaluated_when_a_checkpoint_is_missing(tmp_path: Path) -> None:
    (tmp_path / "f3.pth").touch()

    def never(*_args: object) -> dict:
        raise AssertionError

    with pytest.raises(UserError, match="make checkpoints ONLY=full"):
        reproduce([published(), published("full")], tmp_path, never)
    with pytest.raises(UserError, match="no chosen checkpoint has published numbers"):
        published_trackers([published()], "test")


@pytest.mark.parametrize(("amota", "status"), [(0.41, 0), (0.39, 1)])
def test_command_line_fails_when_a_number_fails(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    amota: float,
    status: int,
) -> None:
    """With a manifest of one file, and inference and metrics replaced by their outcome."""
    from pftrack.commands import shared as commands
    from pftrack.tracking.runner import InferenceRun

    entry = vars(published()) | {"members": ["x"]}
    manifest = {"base_url": "x", "license": "y", "files": [entry]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "f3.pth").touch()
    run = InferenceRun(tmp_path / "r.json", 1, 1, "v1.0-trainval", "data")
    monkeypatch.setattr(commands, "run_job", lambda *_: run)
    monkeypatch.setattr(
        commands, "evaluate_and_report", lambda *_, **__: {"amota": amota, "amotp": 1.343}
    )
    monkeypatch.setattr(sys, "argv", ["reproduce.py", "--manifest", f"{tmp_path}/manifest.json"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(CODE / "tools" / "reproduce.py"), run_name="__main__")
    assert stop.value.code == status
    assert ("FAIL" in capsys.readouterr().out) == bool(status)
