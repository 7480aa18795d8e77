"""InfoBuilder from Python: what it writes without a lidar, and what it does not take."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pftrack.data import Box, InfoBuilder, KeyFrame, Recording, RigCamera
from pftrack.datasets.infos import load_infos
from pftrack.errors import UserError

LEVEL = (0.5, -0.5, 0.5, -0.5)  # a camera that looks forward
NO_TURN = (1.0, 0.0, 0.0, 0.0)


def camera(name: str, **changes: object) -> RigCamera:
    intrinsic = ((100.0, 0.0, 48.0), (0.0, 100.0, 32.0), (0.0, 0.0, 1.0))
    return replace(RigCamera(name, intrinsic, (LEVEL, (1.0, 0.0, 1.5))), **changes)


def frame(path: Path, t: int, **changes: object) -> KeyFrame:
    box = Box("a", "car", (10.0 + 3 * t, 2.0, 0.8), (1.8, 4.2, 1.6), NO_TURN)
    ego = (NO_TURN, (2.0 * t, 0.0, 0.0))
    return replace(KeyFrame(1.0 + 0.5 * t, ego, {"front": path}, (box,)), **changes)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.full((64, 96, 3), 90, np.uint8))
    return path


@pytest.fixture
def recording(image: Path) -> Recording:
    frames = tuple(frame(image, t) for t in range(4))
    return Recording("drive/1 & <x>", (camera("front"), camera("rear")), frames)


def test_a_drive_without_lidar(recording: Recording, image: Path, tmp_path: Path) -> None:
    builder = InfoBuilder()
    builder.add(recording)
    builder.add(replace(recording, name="drive 2"))
    train, val = builder.write(tmp_path / "own", val=["drive 2"])
    file = load_infos(train)
    # A camera that never has an image is no part of the rig.
    assert file.cameras == ("front",) and len(file) == 4 and list(load_infos(val).scenes)
    info = file.infos[1]
    np.testing.assert_allclose(info["gt_boxes"][0, :3], (11, 2, 0.8))  # in the ego frame
    np.testing.assert_allclose(info["gt_boxes"][0, 3:6], (1.8, 4.2, 1.6))
    np.testing.assert_allclose(info["gt_velocity"][0], (6, 0), atol=1e-6)
    assert info["valid_flag"].all() and info["forecasting_masks"][0, :4].tolist() == [1, 1, 1, 0]
    splits = json.loads((tmp_path / "own" / "v1.0-trainval" / "splits.json").read_text())
    assert splits == {"train": [recording.name], "val": ["drive 2"]}
    (link,) = {path.resolve() for path in (tmp_path / "own" / "samples").rglob("*.png")}
    assert link == image.resolve()


Change = Callable[[Recording], Recording]


def with_box(**changes: object) -> Change:
    def change(r: Recording) -> Recording:
        first = r.frames[0]
        box = replace(first.boxes[0], **changes)
        return replace(r, frames=(replace(first, boxes=(box,)), *r.frames[1:]))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: replace(r, cameras=()), "0 cameras, 1 to 12"),
        (lambda r: replace(r, cameras=(r.cameras[0],) * 2), "two cameras are called 'front'"),
        (lambda r: replace(r, cameras=(camera("left"),)), "unknown camera 'front'"),
        (lambda r: replace(r, frames=()), "at least one key frame"),
        (lambda r: replace(r, frames=(r.frames[0], r.frames[0])), "is not after"),
        (lambda r: replace(r, frames=r.frames[::3]), "1.5 s apart.*record more often"),
        (lambda r: replace(r, lidar2ego=(NO_TURN, (900.0, 0.0, 0.0))), "millimetres"),
        (with_box(size=(1.8, 4200.0, 1.6)), "millimetres"),
        (with_box(size=(0.0018, 0.0042, 0.0016)), "kilometres"),
        (with_box(name="truck"), "a car that was a truck"),
        (with_box(rotation=(0.0, 0.0, 0.0, 90.0)), "unit quaternion"),
        (with_box(center=(float("nan"), 0.0, 0.0)), "three finite numbers"),
        (with_box(points=-1), "-1 points"),
    ],
)
def test_what_is_not_taken(recording: Recording, change: Change, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        InfoBuilder().add(change(recording))
    assert "\n" not in str(error.value) and "recording 'drive/1 & <x>'" in str(error.value)


def test_nothing_is_left_of_what_cannot_be_written(
    recording: Recording, image: Path, tmp_path: Path
) -> None:
    builder = InfoBuilder()
    with pytest.raises(UserError, match="no recording to write"):
        builder.write(tmp_path / "own", [])
    builder.add(recording)
    with pytest.raises(UserError, match="two recordings are called"):
        builder.add(recording)
    image.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"image\.png"):
        builder.write(tmp_path / "own", [])
    image.unlink()
    with pytest.raises(UserError, match="no image"):
        builder.write(tmp_path / "own", [])
    assert not list(tmp_path.iterdir())
