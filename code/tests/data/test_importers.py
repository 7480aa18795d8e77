"""Generated data, written in an importer's format and read again, are the same data."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from laboratory.own_data.write import (
    global_boxes,
    scenes_of,
    write_argoverse,
    write_folder,
    write_kitti,
)
from pftrack.commands import import_data
from pftrack.data import argoverse
from pftrack.datasets.frames import lidar2cam_matrices
from pftrack.datasets.info_schema import ANNOTATION_KEYS, FORECASTING_KEYS
from pftrack.datasets.infos import load_infos
from pftrack.errors import UserError
from pftrack.evaluation.config import load_tracking_config
from pftrack.evaluation.ground_truth import load_ground_truth
from pftrack.visualization.scenes import SceneFrames, load_scenes

VERSION = "v1.0-trainval"
NEEDED = (*ANNOTATION_KEYS, *FORECASTING_KEYS)


@pytest.fixture(scope="module")
def dataset(demo_data: Path, demo_infos: dict[str, Path], tmp_path_factory) -> Path:
    """The generated data with its info files in its folder."""
    root = tmp_path_factory.mktemp("own") / "nuscenes"
    root.mkdir()
    for path in demo_data.iterdir():
        (root / path.name).symlink_to(path)
    for path in demo_infos.values():
        (root / path.name).symlink_to(path)
    return root


@pytest.fixture(scope="module")
def robot(dataset: Path) -> Path:
    out = dataset.parent / "robot"
    write_folder(dataset, out)
    return out


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["import_data", *map(str, arguments)])
    assert import_data.main() == 0


def imported(root: Path) -> dict[str, SceneFrames]:
    paths = (root / f"tracking_forecasting_infos_{split}.pkl" for split in ("train", "val"))
    scenes = [s for path in paths for s in load_scenes(load_infos(path, VERSION, NEEDED), root)]
    return {scene.name: scene for scene in scenes}


def test_a_robots_folders(
    dataset: Path, robot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "own"
    run(monkeypatch, "folder", robot, out)
    own = imported(out)
    original = {scene.name: scene for scene in scenes_of(dataset)}
    assert own.keys() == original.keys()
    for name, scene in original.items():
        mine = own[name]
        assert len(mine) == len(scene)
        for t in range(len(scene)):
            before, after = scene.frame(t), mine.frame(t)
            assert (
                after.cameras == before.cameras and after.lidar2ego.tolist() == np.eye(4).tolist()
            )
            assert after.timestamp == pytest.approx(before.timestamp, abs=2e-6)
            np.testing.assert_allclose(after.ego2global, before.ego2global, atol=1e-9)
            np.testing.assert_allclose(after.intrinsics, before.intrinsics)
            np.testing.assert_allclose(after.sensor2ego, before.sensor2ego, atol=1e-9)
            # No exposures in this format: the camera stands where the key frame's vehicle does.
            np.testing.assert_allclose(
                lidar2cam_matrices(after), np.linalg.inv(after.sensor2ego), atol=1e-6
            )
            assert Path(after.images[0]).read_bytes() == Path(before.images[0]).read_bytes()
            truth, again = (global_boxes(s.infos[t]) for s in (scene, mine))
            assert len(truth) == len(again) > 0
            by_place = sorted(again, key=lambda b: tuple(b["center"]))
            for a, b in zip(sorted(truth, key=lambda b: tuple(b["center"])), by_place, strict=True):
                np.testing.assert_allclose(b["center"], a["center"], atol=1e-6)
                np.testing.assert_allclose(b["size"], a["size"], atol=1e-9)
                assert abs(np.dot(a["rotation"], b["rotation"])) == pytest.approx(1, abs=1e-4)
                assert (a["name"], a["points"]) == (b["name"], b["points"])
    # Evaluation reads the tables: the same objects on the split that was asked for.
    names = load_tracking_config().class_names
    truth = load_ground_truth(out, VERSION, "val", names)
    assert truth.frames.scene_names == [sorted(original)[-1]] and len(truth.boxes)


def test_kittis_text_labels(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = tmp_path / "training", tmp_path / "own"
    write_kitti(dataset, source)
    with pytest.raises(UserError, match=r"key frames are 0.1 s apart.*take every 5th"):
        run(monkeypatch, "kitti", source, out)
    run(monkeypatch, "kitti", source, out, "--every", 5, "--val", "0001")
    own = imported(out)
    for number, scene in enumerate(scenes_of(dataset)):
        mine = own[f"{number:04d}"]
        assert len(mine) == len(scene) and mine.frame(0).cameras == ("image_02",)
        origin = np.asarray(scene.infos[0]["ego2global_translation"])
        for t in range(len(scene)):
            # Mercator's projection bends by less than a millimetre over such a drive.
            before, after = scene.frame(t).ego2global, mine.frame(t).ego2global
            np.testing.assert_allclose(after[:3, 3], before[:3, 3] - origin, atol=5e-2)
            np.testing.assert_allclose(after[:3, :3], before[:3, :3], atol=1e-6)
            kinds = ("car", "truck", "pedestrian", "bicycle")
            truth = [b for b in global_boxes(scene.infos[t]) if b["name"] in kinds]
            again = global_boxes(mine.infos[t])
            assert len(truth) == len(again)
            for a in truth:
                b = min(again, key=lambda b: np.linalg.norm(b["center"] - a["center"] + origin))
                np.testing.assert_allclose(b["center"], a["center"] - origin, atol=0.1)
                np.testing.assert_allclose(b["size"], a["size"], atol=1e-9)
                assert abs(np.dot(a["rotation"], b["rotation"])) > 0.999 and a["name"] == b["name"]


@pytest.mark.parametrize(("file", "column"), [("label_02", 16), ("oxts", 5)])
def test_kittis_angles_are_radians(
    file: str, column: int, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "training"
    write_kitti(dataset, source)
    path = source / file / "0000.txt"
    first, *rest = path.read_text().splitlines()
    words = first.split()
    words[column] = "90"
    path.write_text("\n".join([" ".join(words), *rest]))
    with pytest.raises(UserError, match=r"0000\.txt, line 1: an angle of 90: .* in radians"):
        run(monkeypatch, "kitti", source, tmp_path / "own", "--every", 5)


@pytest.fixture(scope="module")
def logs(dataset: Path) -> Path:
    """The generated data as Argoverse 2 has its logs."""
    pytest.importorskip("pyarrow", reason="pyarrow is optional: make setup ARGS=argoverse")
    out = dataset.parent / "argoverse"
    write_argoverse(dataset, out)
    return out


def test_argoverses_tables(
    dataset: Path, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (logs / "log0" / "map").mkdir()
    (logs / "log0" / "map" / "log_map_archive_log0____PIT_city_57820.json").touch()
    out = tmp_path / "own"
    with pytest.raises(UserError, match=r"key frames are 0.1 s apart.*take every 5th"):
        run(monkeypatch, "argoverse", logs, out)
    run(monkeypatch, "argoverse", logs, out, "--every", 5)
    own = imported(out)
    kinds = set(argoverse.CLASSES.values())
    for number, scene in enumerate(scenes_of(dataset)):
        mine = own[f"log{number}"]
        assert len(mine) == len(scene)
        for t in range(len(scene)):
            before, after = scene.frame(t), mine.frame(t)
            order = [f"ring_{name.removeprefix('CAM_').lower()}" for name in before.cameras]
            pick = [after.cameras.index(name) for name in order]
            np.testing.assert_allclose(after.ego2global, before.ego2global, atol=1e-9)
            np.testing.assert_allclose(after.intrinsics[pick], before.intrinsics)
            np.testing.assert_allclose(after.sensor2ego[pick], before.sensor2ego, atol=1e-9)
            # Exposures are kept: the vehicle has moved on when a camera looks.
            np.testing.assert_allclose(
                after.camera_ego2global[pick], before.camera_ego2global, atol=1e-9
            )
            for i, at in enumerate(pick):
                assert Path(after.images[at]).read_bytes() == Path(before.images[i]).read_bytes()
            truth = [b for b in global_boxes(scene.infos[t]) if b["name"] in kinds]
            again = global_boxes(mine.infos[t])
            assert len(truth) == len(again) > 0
            for a in truth:
                b = min(again, key=lambda b: np.linalg.norm(b["center"] - a["center"]))
                np.testing.assert_allclose(b["center"], a["center"], atol=1e-6)
                np.testing.assert_allclose(b["size"], a["size"], atol=1e-9)
                assert abs(np.dot(a["rotation"], b["rotation"])) == pytest.approx(1, abs=1e-4)
                assert (a["name"], a["points"]) == (b["name"], b["points"])
    logs_table = json.loads((out / VERSION / "log.json").read_text())
    assert {row["location"] for row in logs_table} == {"PIT", "unknown"}


def test_without_pyarrow_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="make setup RUNTIME=native ARGS=argoverse"):
        run(monkeypatch, "argoverse", tmp_path, tmp_path / "own")


def edit_feather(name: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        import pyarrow
        from pyarrow import feather

        columns = feather.read_table(folder / name).to_pydict()
        change(columns)
        feather.write_feather(pyarrow.table(columns), str(folder / name))

    return edit


def scaled(name: str, column: str, factor: float) -> Callable[[Path], None]:
    return edit_feather(name, lambda c: c.update({column: [v * factor for v in c[column]]}))


ARGOVERSES_MISTAKES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no column": (edit_feather(argoverse.POSES, lambda c: c.pop("qw")), "no column 'qw'"),
    "texts": (
        edit_feather(argoverse.ANNOTATIONS, lambda c: c.update(tx_m=["far"] * len(c["tx_m"]))),
        "column 'tx_m': could not convert",
    ),
    "numbers": (
        edit_feather(argoverse.ANNOTATIONS, lambda c: c.update(category=[3] * len(c["tx_m"]))),
        "column 'category': texts are wanted",
    ),
    "not finite": (scaled(argoverse.POSES, "tx_m", float("nan")), "finite numbers are wanted"),
    "category": (
        edit_feather(argoverse.ANNOTATIONS, lambda c: c["category"].__setitem__(0, "UFO")),
        "unknown category 'UFO'",
    ),
    "another log's poses": (
        edit_feather(
            argoverse.POSES, lambda c: c.update(timestamp_ns=[t // 2 for t in c["timestamp_ns"]])
        ),
        "has no pose within 50 ms of the time",
    ),
    "no mount": (
        edit_feather(argoverse.MOUNTS, lambda c: c["sensor_name"].__setitem__(0, "ring_x")),
        "which calibration/intrinsics.feather has",
    ),
    "in mm": (scaled(argoverse.ANNOTATIONS, "width_m", 1000.0), "metres are wanted"),
    "climbs out": (
        edit_feather(argoverse.INTRINSICS, lambda c: c["sensor_name"].__setitem__(0, "ring_/../a")),
        "is no name of a folder",
    ),
    "no feather": (
        lambda folder: (folder / argoverse.POSES).write_bytes(b"timestamp_ns,qw\n1,2\n") and None,
        "city_SE3_egovehicle.feather",
    ),
    "torn": (
        lambda folder: (
            (folder / argoverse.POSES).write_bytes((folder / argoverse.POSES).read_bytes()[:400])
            and None
        ),
        "city_SE3_egovehicle.feather",
    ),
}


@pytest.mark.parametrize("mistake", ARGOVERSES_MISTAKES)
def test_a_mistake_in_argoverses_tables_is_one_line(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    shutil.copytree(logs / "log0", tmp_path / "logs" / "log0")
    change, message = ARGOVERSES_MISTAKES[mistake]
    change(tmp_path / "logs" / "log0")
    with pytest.raises(UserError, match=message) as error:
        run(monkeypatch, "argoverse", tmp_path / "logs", tmp_path / "own", "--every", 5)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def edit_json(name: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return edit


def edit_text(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(change((folder / name).read_text())) and None


def edit_column(name: str, column: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def edit(text: str) -> str:
        head, *lines = text.splitlines()
        at = head.split(",").index(column)
        rows = [line.split(",") for line in lines]
        return "\n".join([head, *(",".join([*r[:at], change(r[at]), *r[at + 1 :]]) for r in rows)])

    return edit_text(name, edit)


def camera(name: str, key: str, value: object) -> Callable[[Path], None]:
    return edit_json("calibration.json", lambda c: c["cameras"][name].update({key: value}))


def poses_in_mm(folder: Path) -> None:
    for column in "xyz":
        edit_column("poses.csv", column, lambda v: str(1000 * float(v)))(folder)


def rename(folder: Path) -> None:
    (folder / "images" / "CAM_BACK").rename(folder / "images" / "rear")


MISTAKES: dict[str, tuple[Callable[[Path], None], str]] = {
    "unknown camera": (rename, "unknown camera 'rear'"),
    "one name twice": (
        edit_text("calibration.json", lambda t: t.replace('"CAM_BACK"', '"CAM_FRONT"')),
        "'CAM_FRONT' is there twice",
    ),
    "mount in mm": (camera("CAM_FRONT", "translation", [1700.0, 15.0, 1510.0]), "millimetres"),
    "no quaternion": (camera("CAM_FRONT", "rotation", [0.0, 0.0, 0.3, 0.1]), "unit quaternion"),
    "looks up": (camera("CAM_FRONT", "rotation", [1.0, 0.0, 0.0, 0.0]), "'CAM_FRONT' looks up"),
    "the other way round": (
        camera("CAM_FRONT", "rotation", [0.5, 0.5, -0.5, 0.5]),
        "'CAM_FRONT' lies on its side",
    ),
    "focal length in mm": (
        camera("CAM_FRONT", "intrinsic", [[5.5, 0, 200], [0, 5.5, 112], [0, 0, 1]]),
        "must be in pixels",
    ),
    "other image size": (
        camera("CAM_FRONT", "intrinsic", [[1260, 0, 800], [0, 1260, 450], [0, 0, 1]]),
        "images of another size",
    ),
    "poses in mm": (poses_in_mm, "are the poses in millimetres"),
    "times in us": (edit_column("poses.csv", "time", lambda v: str(1e6 * float(v))), "seconds are"),
    "times backwards": (edit_column("poses.csv", "time", lambda v: "7"), "is not after"),
    "boxes in mm": (
        edit_column("boxes.csv", "width", lambda v: str(1000 * float(v))),
        "metres are",
    ),
    "degrees": (edit_column("boxes.csv", "yaw", lambda v: "90"), "are these degrees"),
    "local boxes": (edit_column("boxes.csv", "x", lambda v: "9000"), "in the global frame"),
    "class": (edit_column("boxes.csv", "class", lambda v: "tram"), "unknown class 'tram'"),
    "id twice": (edit_column("boxes.csv", "id", lambda v: "7"), "two boxes have the id '7'"),
    "frame": (edit_column("boxes.csv", "frame", lambda v: "x"), "frame 'x' is not in poses.csv"),
    "no number": (edit_column("poses.csv", "qw", lambda v: "east"), "poses.csv, line 2: "),
    "no column": (edit_text("poses.csv", lambda t: t.replace("qw", "w")), "no column 'qw'"),
    "no JSON": (edit_text("calibration.json", lambda t: t[:-9]), "calibration.json' is malformed"),
    "empty": (edit_text("poses.csv", lambda t: t.splitlines()[0]), "has no key frame"),
    "climbs out": (edit_column("poses.csv", "frame", lambda v: "../x"), "is no name of a file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(
    robot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    source = tmp_path / "robot"
    name = sorted(path.name for path in robot.iterdir())[0]
    shutil.copytree(robot / name, source / name)
    change, message = MISTAKES[mistake]
    change(source / name)
    with pytest.raises(UserError, match=message) as error:
        run(monkeypatch, "folder", source, tmp_path / "own")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["robot"]


def test_dropouts_copies_and_folders_that_are_there(
    robot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "robot", tmp_path / "own"
    name = sorted(path.name for path in robot.iterdir())[0]
    shutil.copytree(robot / name, source / name)
    (source / name / "images" / "CAM_BACK" / "000002.jpg").unlink()
    run(monkeypatch, "folder", source, out, "--copy")
    file = load_infos(out / "tracking_forecasting_infos_val.pkl")
    assert file.dropouts == {"CAM_BACK": 1}
    assert not any(path.is_symlink() for path in out.rglob("*"))
    with pytest.raises(UserError, match="is not empty: name a new folder"):
        run(monkeypatch, "folder", source, out)
    with pytest.raises(UserError, match="no recording 'x' to evaluate"):
        run(monkeypatch, "folder", source, tmp_path / "other", "--val", "x")
