"""Info files: read without running code, checked, ordered; clips of frames."""

from __future__ import annotations

import io
import itertools
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pftrack.datasets.clips import clip_indices
from pftrack.datasets.info_schema import ANNOTATION_KEYS, FORECASTING_KEYS
from pftrack.datasets.infos import (
    load_infos,
)
from pftrack.datasets.packed_infos import PackedInfos
from pftrack.errors import UserError
from pftrack.nuscenes.versions import scene_names
from pftrack.pickles import SafeUnpickler, settle

ALL_KEYS = (*ANNOTATION_KEYS, *FORECASTING_KEYS)


@pytest.fixture(scope="module")
def golden_infos(golden_dir: Path) -> dict[str, Any]:
    path = golden_dir / "infos" / "tracking_forecasting_infos_train.pkl"
    return dict(pickle.loads(path.read_bytes()))


def write(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


# --- untrusted pickles ----------------------------------------------------------------------------


class Gadget:
    """A pickle that calls ``function(*arguments)`` when it is loaded the ordinary way."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "make",
    [
        lambda mark: Gadget(os.system, f"touch {mark}"),
        lambda mark: Gadget(exec, f"open({str(mark)!r}, 'w')"),
        lambda mark: Gadget(eval, f"open({str(mark)!r}, 'w')"),
        lambda mark: Gadget(getattr, "text", "upper"),
        lambda mark: Gadget(open, str(mark), "w"),
        lambda mark: Gadget(np.save, str(mark), np.zeros(1)),
        lambda mark: np.array([Gadget(os.system, f"touch {mark}")], dtype=object),
    ],
    ids=["system", "exec", "eval", "getattr", "open", "numpy function", "object array"],
)
def test_a_gadget_never_runs(tmp_path: Path, make: Any, golden_infos: dict[str, Any]) -> None:
    mark = tmp_path / "ran"
    infos = [dict(golden_infos["infos"][0], extra=make(mark))]
    path = write(tmp_path / "evil.pkl", {"infos": infos, "metadata": golden_infos["metadata"]})
    with pytest.raises(UserError, match="not an info file that can be trusted"):
        load_infos(path)
    assert not mark.exists() and not list(tmp_path.glob("ran*"))


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("renamed", [False, True])
def test_numpy_of_any_protocol_and_version_loads(protocol: int, renamed: bool) -> None:
    content = {
        "array": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "names": np.array(["car", "bus"]),
        "scalar": np.float64(3.5),
        "flags": np.array([True, False]),
    }
    data = pickle.dumps(content, protocol=protocol)
    if renamed and protocol < 4:  # text names without lengths: as numpy 2 writes them
        data = data.replace(b"numpy.core.", b"numpy._core.")
    loaded = settle(SafeUnpickler(io.BytesIO(data)).load())
    for key, value in content.items():
        np.testing.assert_array_equal(loaded[key], value)


# --- schema ---------------------------------------------------------------------------------------


def test_official_layout_loads_unchanged(golden_dir: Path, golden_infos: dict[str, Any]) -> None:
    path = golden_dir / "infos" / "tracking_forecasting_infos_train.pkl"
    loaded = load_infos(path, "v1.0-trainval", ALL_KEYS)
    assert [i["token"] for i in loaded.infos] == [i["token"] for i in golden_infos["infos"]]
    assert loaded.version == "v1.0-trainval"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"infos": [], "metadata": {"version": "v1.0-mini"}}, "not an info file"),
        ([1, 2], "not an info file"),
        ({"data_list": [], "metainfo": {}}, "mmdet3d >= 1.1"),
        ({"infos": [1], "metadata": {"version": "v1.0-mini"}}, "info 0: not a dict"),
        ({"infos": [{}], "metadata": {"version": "v9"}}, "unknown version 'v9'"),
        ({"infos": [{}], "metadata": {"version": "v1.0-mini"}}, "'token' is missing"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_infos(write(tmp_path / "infos.pkl", content))


def test_torn_and_missing_files(tmp_path: Path, golden_infos: dict[str, Any]) -> None:
    path = write(tmp_path / "infos.pkl", golden_infos)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(UserError, match="not an info file that can be trusted"):
        load_infos(path)
    with pytest.raises(UserError, match="no info file"):
        load_infos(tmp_path / "none.pkl")


def test_another_version_is_named(tmp_path: Path, golden_infos: dict[str, Any]) -> None:
    path = write(tmp_path / "infos.pkl", golden_infos)
    with pytest.raises(UserError, match=r"made from nuScenes v1\.0-trainval, but v1\.0-mini"):
        load_infos(path, "v1.0-mini")


@pytest.mark.parametrize("key", ["instance_inds", "forecasting_locs"])
def test_missing_fields_are_named(tmp_path: Path, golden_infos: dict[str, Any], key: str) -> None:
    infos = [dict(info) for info in golden_infos["infos"]]
    del infos[2][key]
    path = write(tmp_path / "infos.pkl", {**golden_infos, "infos": infos})
    load_infos(path)  # tracking does not need it
    with pytest.raises(UserError, match=f"info 2: '{key}' is missing"):
        load_infos(path, require=ALL_KEYS)


def test_fields_of_different_lengths_are_refused(
    tmp_path: Path, golden_infos: dict[str, Any]
) -> None:
    infos = [dict(info) for info in golden_infos["infos"]]
    infos[1]["gt_velocity"] = infos[1]["gt_velocity"][:-1]
    path = write(tmp_path / "infos.pkl", {**golden_infos, "infos": infos})
    with pytest.raises(UserError, match="info 1: annotation fields differ in length"):
        load_infos(path, require=ALL_KEYS)


# --- order, clips, packing ------------------------------------------------------------------------


def test_scenes_that_overlap_in_time_stay_together(
    tmp_path: Path, golden_infos: dict[str, Any]
) -> None:
    order = [("b", 15), ("a", 20), ("a", 10), ("b", 25), ("c", 5), ("a", 30)]
    infos = [
        dict(golden_infos["infos"][0], token=f"{scene}{time}", scene_token=scene, timestamp=time)
        for scene, time in order
    ]
    loaded = load_infos(write(tmp_path / "infos.pkl", {**golden_infos, "infos": infos}))
    found = [(info["scene_token"], info["timestamp"]) for info in loaded.infos]
    assert found == [("c", 5), ("a", 10), ("a", 20), ("a", 30), ("b", 15), ("b", 25)]
    assert loaded.scenes == {"c": range(0, 1), "a": range(1, 4), "b": range(4, 6)}


def test_clip_repeats_the_first_frame_of_the_scene() -> None:
    scene = range(10, 14)
    assert clip_indices(10, scene, 3) == [10, 10, 10]
    assert clip_indices(11, scene, 3) == [10, 10, 11]
    assert clip_indices(13, scene, 3) == [11, 12, 13]
    assert clip_indices(12, scene, 1) == [12]


@given(st.integers(0, 30), st.integers(1, 10), st.integers(1, 6), st.data())
def test_clips_stay_in_their_scene_and_order(
    start: int, length: int, frames: int, data: st.DataObject
) -> None:
    scene = range(start, start + length)
    index = data.draw(st.sampled_from(scene))
    clip = clip_indices(index, scene, frames)
    assert len(clip) == frames and clip[-1] == index and set(clip) <= set(scene)
    assert all(b - a in (0, 1) for a, b in itertools.pairwise(clip))


def _camera(info: dict[str, Any], **values: Any) -> dict[str, Any]:
    front = {**info["cams"]["CAM_FRONT"], **values}
    return {**info, "cams": {**info["cams"], "CAM_FRONT": front}}


WRONG: dict[str, tuple[Any, str]] = {
    "nan pose": (
        lambda i: {**i, "ego2global_translation": [0.0, float("nan"), 0.0]},
        "'ego2global_translation' is not finite",
    ),
    "zero quaternion": (
        lambda i: {**i, "lidar2ego_rotation": [0.0] * 4},
        "'lidar2ego_rotation' is no unit quaternion",
    ),
    "quaternion of three": (
        lambda i: {**i, "lidar2ego_rotation": [1.0, 0, 0]},
        "'lidar2ego_rotation' is not 4 numbers",
    ),
    "text": (lambda i: {**i, "timestamp": "late"}, "'timestamp' is not a number"),
    "2x2 intrinsics": (
        lambda i: _camera(i, cam_intrinsic=np.eye(2)),
        "'cam_intrinsic' of camera CAM_FRONT is not 3 x 3 numbers",
    ),
    "zero intrinsics": (
        lambda i: _camera(i, cam_intrinsic=np.zeros((3, 3))),
        "'cam_intrinsic' of camera CAM_FRONT is no camera matrix",
    ),
    "no rotation": (
        lambda i: _camera(i, sensor2lidar_rotation=2 * np.eye(3)),
        "'sensor2lidar_rotation' of camera CAM_FRONT is no rotation",
    ),
    "path": (lambda i: _camera(i, data_path=7), "'data_path' of camera CAM_FRONT is no path"),
    "token": (lambda i: {**i, "token": 3}, "'token' is no text"),
    "nan box": (
        lambda i: {**i, "gt_boxes": np.full_like(i["gt_boxes"], np.nan)},
        "'gt_boxes' is not finite",
    ),
    "flat box": (
        lambda i: {**i, "gt_boxes": 0 * i["gt_boxes"]},
        "'gt_boxes' has a size that is not positive",
    ),
    "narrow boxes": (lambda i: {**i, "gt_boxes": i["gt_boxes"][:, :5]}, "not 7 numbers a row"),
    "infinite speed": (
        lambda i: {**i, "gt_velocity": np.full_like(i["gt_velocity"], np.inf)},
        "'gt_velocity' is not finite",
    ),
    "instance": (
        lambda i: {**i, "instance_inds": [-1] * len(i["gt_boxes"])},
        "'instance_inds' is no instance number",
    ),
    "future": (
        lambda i: {**i, "forecasting_locs": i["forecasting_locs"][:, :4]},
        "'forecasting_locs' has not 13 x 3 numbers a row",
    ),
    "names": (lambda i: {**i, "gt_names": [1] * len(i["gt_boxes"])}, "'gt_names' are not names"),
}


@pytest.mark.parametrize("case", WRONG)
def test_values_that_make_no_sense_are_named(
    tmp_path: Path, golden_infos: dict[str, Any], case: str
) -> None:
    spoil, words = WRONG[case]
    infos = list(golden_infos["infos"])
    at = next(n for n, info in enumerate(infos) if n and len(info["gt_boxes"]))
    infos[at] = spoil(infos[at])
    path = write(tmp_path / "infos.pkl", {**golden_infos, "infos": infos})
    with pytest.raises(UserError, match=f"info {at}: .*{words}"):
        load_infos(path)


def test_frames_twice_are_named(tmp_path: Path, golden_infos: dict[str, Any]) -> None:
    infos = [*golden_infos["infos"], golden_infos["infos"][0]]
    with pytest.raises(UserError, match=r"the token '.*' is there twice"):
        load_infos(write(tmp_path / "infos.pkl", {**golden_infos, "infos": infos}))


def test_what_nothing_reads_is_left_out(golden_dir: Path) -> None:
    path = golden_dir / "infos" / "tracking_forecasting_infos_train.pkl"
    assert "sweeps" not in load_infos(path).infos[0]


def test_packed_infos_give_back_what_is_read(golden_infos: dict[str, Any]) -> None:
    packed = PackedInfos(golden_infos["infos"])
    assert len(packed) == len(golden_infos["infos"])
    assert packed[-1]["token"] == golden_infos["infos"][-1]["token"]
    np.testing.assert_array_equal(packed[2]["gt_boxes"], golden_infos["infos"][2]["gt_boxes"])
    assert [info["token"] for info in packed[1:3]] == [
        info["token"] for info in golden_infos["infos"][1:3]
    ]
    with pytest.raises(IndexError):
        packed[len(packed)]
    packed[0]["gt_boxes"][:] = 0  # a fresh object each time
    assert packed[0]["gt_boxes"].any()


# --- splits ---------------------------------------------------------------------------------------


def test_official_scene_lists() -> None:
    assert [len(scene_names("v1.0-trainval", split)) for split in ("train", "val")] == [700, 150]
    assert scene_names("v1.0-mini", "val") == ["scene-0103", "scene-0916"]
    assert scene_names("v1.0-mini", "mini_val") == scene_names("v1.0-mini", "val")
    assert len(scene_names("v1.0-test", "test")) == 150


def test_mini_split_of_trainval_is_refused() -> None:
    with pytest.raises(UserError, match=r"v1\.0-trainval has no split 'mini_val'"):
        scene_names("v1.0-trainval", "mini_val")
    with pytest.raises(UserError, match=r"unknown nuScenes version 'v2'"):
        scene_names("v2", "val")
