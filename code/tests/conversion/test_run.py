"""Tables to info files: the original's values, and one clear line for damaged tables."""

from __future__ import annotations

import json
import pickle
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pftrack.conversion.annotations import LINEAR, OTHER, STATIC, _future_type
from pftrack.conversion.convert import Converter
from pftrack.conversion.run import _BATCH, convert_folder, convert_tables, write_infos
from pftrack.datasets.infos import load_infos, read_pickle
from pftrack.errors import UserError
from pftrack.nuscenes.table_files import iter_rows
from pftrack.nuscenes.tables import load_tables


@pytest.fixture
def nuscenes(golden_dir: Path, tmp_path: Path) -> Path:
    """A writable copy of the golden tables, with (empty) camera files."""
    source, root = golden_dir / "infos" / "nuscenes", tmp_path / "nuscenes"
    for table in (source / "v1.0-trainval").iterdir():
        (root / "v1.0-trainval").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(table, root / "v1.0-trainval" / table.name)
    for row in iter_rows(root / "v1.0-trainval" / "sample_data.json"):
        if row["is_key_frame"]:
            path = root / row["filename"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return root


def edit(root: Path, table: str, change: Any) -> None:
    """Rewrite a table with its rows changed in place by ``change(rows)``."""
    path = root / "v1.0-trainval" / f"{table}.json"
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows, indent=0))


def assert_same(ours: Any, reference: Any, where: str) -> None:
    """Numbers to 1e-9, everything else (types and order of keys included) equal."""
    assert type(ours) is type(reference), where
    if isinstance(reference, dict):
        assert list(ours) == list(reference), where
        for key in reference:
            assert_same(ours[key], reference[key], f"{where}/{key}")
    elif isinstance(reference, list):
        assert len(ours) == len(reference), where
        for i, (one, other) in enumerate(zip(ours, reference, strict=True)):
            assert_same(one, other, f"{where}/{i}")
    elif isinstance(reference, np.ndarray):
        assert ours.dtype == reference.dtype and ours.shape == reference.shape, where
        if reference.dtype.kind == "f":
            np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-9, err_msg=where)
        else:
            np.testing.assert_array_equal(ours, reference, err_msg=where)
    elif isinstance(reference, float):
        assert abs(ours - reference) < 1e-9, where
    else:
        assert ours == reference, where


def test_infos_equal_the_original_converter(
    golden_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(golden_dir / "infos")
    paths = convert_folder("nuscenes", "v1.0-trainval", tmp_path, workers=2)
    assert [path.name for path in paths] == [
        "tracking_forecasting_infos_train.pkl",
        "tracking_forecasting_infos_val.pkl",
    ]
    for path in paths:
        ours = pickle.loads(path.read_bytes())
        assert_same(ours, pickle.loads(Path(path.name).read_bytes()), path.name)
    # An absolute path below the working directory is stored as a relative one, as users move data.
    convert_folder(Path.cwd() / "nuscenes", "v1.0-trainval", tmp_path / "abs")
    again = load_infos(tmp_path / "abs" / paths[0].name)
    assert again.infos[0]["lidar_path"].startswith("nuscenes/samples/")


@pytest.mark.slow
def test_mini_infos(demo_infos: dict[str, Path]) -> None:
    for path in demo_infos.values():
        infos = load_infos(path, "v1.0-mini")
        assert len(infos.scenes) == 1 and len(infos) == 6
        info = infos.infos[3]
        assert info["frame_idx"] == 3
        assert info["forecasting_locs"].shape == (len(info["gt_boxes"]), 13, 3)


def test_without_forecasting(nuscenes: Path, tmp_path: Path) -> None:
    path = convert_folder(nuscenes, "v1.0-trainval", tmp_path, forecasting=False)[0]
    info = load_infos(path).infos[0]
    assert "gt_boxes" in info and not [key for key in info if key.startswith("forecasting")]


def test_test_split_has_no_annotations(nuscenes: Path, tmp_path: Path) -> None:
    test = nuscenes / "v1.0-test"
    (nuscenes / "v1.0-trainval").rename(test)
    for table in ("sample_annotation", "instance"):
        (test / f"{table}.json").write_text("[]")
    rows = json.loads((test / "scene.json").read_text())
    rows[0]["name"], rows[1]["name"] = "scene-0077", "scene-0078"  # of the official test split
    (test / "scene.json").write_text(json.dumps(rows))
    (path,) = convert_folder(nuscenes, "v1.0-test", tmp_path)
    assert path.name == "tracking_forecasting_infos_test.pkl"
    infos = load_infos(path, "v1.0-test")
    assert len(infos) == 16 and "gt_boxes" not in infos.infos[0]


def test_scenes_without_images_are_left_out(
    nuscenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = load_tables(nuscenes, "v1.0-trainval")
    data = tables.sample_data
    val_scene = tables.scene["name"].index("scene-0003")
    for row, name in enumerate(data["filename"]):
        if tables.sample["scene_row"][data["sample_row"][row]] == val_scene:
            (nuscenes / name).unlink(missing_ok=True)
    paths = convert_folder(nuscenes, "v1.0-trainval", tmp_path)
    assert [path.stem for path in paths] == ["tracking_forecasting_infos_train"]
    output = capsys.readouterr().out
    assert "left out 1 of 2 scenes" in output and "val split" in output


def test_future_types() -> None:
    size = np.tile([2.0, 4.0, 1.5], (4, 1))
    velocity = np.array([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [np.nan, np.nan]])
    end = np.array([[3.9, 0.0], [24.0, 3.9], [24.0, 4.1], [10.0, 0.0]])
    locs = np.zeros((4, 13, 3))
    locs[:, -1, :2] = end
    mask = np.ones((4, 13), dtype=bool)
    types = _future_type(locs, mask, velocity, size)
    assert types.tolist() == [STATIC, LINEAR, OTHER, OTHER]
    # A track that ends after two steps is compared with one second of straight motion.
    mask[:, 3:] = False
    locs[:, -1, :2] = [7.9, 0.0]
    assert _future_type(locs, mask, velocity, size).tolist() == [LINEAR] * 3 + [OTHER]


@pytest.mark.parametrize(
    ("table", "change", "words"),
    [
        (
            "sample_annotation",
            lambda rows: rows[7].update(instance_token="f" * 32),
            ["sample_annotation", "instance_token", "f" * 32, "table instance"],
        ),
        ("sample_annotation", lambda rows: rows[3].update(next="0" * 32), ["next", "0" * 32]),
        ("sample_annotation", lambda rows: rows[5].pop("size"), ["row 5", "size"]),
        ("sample_annotation", lambda rows: rows[5].update(size="big"), ["size"]),
        ("sample_data", lambda rows: rows[0].update(ego_pose_token="no"), ["ego_pose_token"]),
        (
            "sample_data",
            lambda rows: rows[0].update(calibrated_sensor_token="no"),
            ["calibrated_sensor_token"],
        ),
        (
            "sample_data",
            lambda rows: next(r for r in rows if "LIDAR" in r["filename"]).update(
                is_key_frame=False
            ),
            ["has no key frame of LIDAR_TOP"],
        ),
        ("scene", lambda rows: rows.pop(0), ["scene_token"]),
        ("calibrated_sensor", lambda rows: rows.clear(), ["calibrated_sensor"]),
    ],
)
def test_damaged_tables(
    nuscenes: Path, tmp_path: Path, table: str, change: Any, words: list[str]
) -> None:
    edit(nuscenes, table, change)
    out = tmp_path / "out"
    with pytest.raises(UserError) as caught:
        convert_folder(nuscenes, "v1.0-trainval", out)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert not out.exists()


def test_truncated_table(nuscenes: Path, tmp_path: Path) -> None:
    path = nuscenes / "v1.0-trainval" / "ego_pose.json"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"ego_pose\.json ends or breaks off"):
        convert_folder(nuscenes, "v1.0-trainval", tmp_path / "out", workers=2)
    assert not (tmp_path / "out").exists()


def test_no_images_at_all(nuscenes: Path, tmp_path: Path) -> None:
    shutil.rmtree(nuscenes / "samples")
    with pytest.raises(UserError, match="no camera images"):
        convert_folder(nuscenes, "v1.0-trainval", tmp_path / "out")


def test_scenes_of_no_official_split(nuscenes: Path, tmp_path: Path) -> None:
    edit(nuscenes, "scene", lambda rows: [row.update(name="scene-9999") for row in rows])
    with pytest.raises(UserError, match="no scene of the official splits"):
        convert_tables(load_tables(nuscenes, "v1.0-trainval"), nuscenes, tmp_path / "out")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "infos.pkl"
    path.write_bytes(b"old")
    with pytest.raises((pickle.PicklingError, AttributeError)):
        write_infos(path, [{"bad": lambda: None}], "v1.0-mini")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_an_info_file_is_written_as_infos_come(tmp_path: Path) -> None:
    """What has been written is let go, and the file is one pickle of all infos."""
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def infos(keep: bool = True) -> Iterator[dict[str, Any]]:
        nonlocal most
        for number in range(2 * _BATCH + 50):
            array = np.full((2, 3), float(number))
            if keep:
                alive.append(weakref.ref(array))
                most = max(most, sum(ref() is not None for ref in alive))
            yield {"token": str(number), "boxes": array, "again": array, "lidar_path": "a/b"}

    path = tmp_path / "infos.pkl"
    write_infos(path, infos(), "v1.0-mini")
    assert most <= _BATCH + 2
    for content in (pickle.loads(path.read_bytes()), read_pickle(path)):
        assert content["metadata"] == {"version": "v1.0-mini"} and len(content) == 2
        assert_same(content["infos"], list(infos(False)), "infos")
        assert all(info["boxes"] is info["again"] for info in content["infos"])
    write_infos(path, [], "v1.0-mini")
    assert pickle.loads(path.read_bytes()) == {"infos": [], "metadata": {"version": "v1.0-mini"}}


def test_infos_do_not_depend_on_what_is_computed_together(
    nuscenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = load_tables(nuscenes, "v1.0-trainval")
    samples = np.arange(len(tables.sample["token"]))
    together = list(Converter(tables, nuscenes).infos(samples))
    monkeypatch.setattr("pftrack.conversion.convert._BLOCK", 3)
    assert pickle.dumps(list(Converter(tables, nuscenes).infos(samples))) == pickle.dumps(together)
    assert not list(Converter(tables, nuscenes).infos(samples[:0]))


def test_tables_keep_what_is_used(nuscenes: Path) -> None:
    """Ego poses of radars and of cameras between key frames are not kept."""

    def add(rows: list[dict[str, Any]]) -> None:
        rows.insert(0, {**rows[0], "token": "f" * 32, "translation": [9.0, 9.0, 9.0]})

    before = load_tables(nuscenes, "v1.0-trainval")
    edit(nuscenes, "ego_pose", add)
    after = load_tables(nuscenes, "v1.0-trainval")
    assert len(after.ego_pose["translation"]) == len(before.ego_pose["translation"])
    rows = after.sample_data["ego_pose_row"]
    np.testing.assert_array_equal(
        after.ego_pose["translation"][rows],
        before.ego_pose["translation"][before.sample_data["ego_pose_row"]],
    )
