"""Pictures of single things: an object in two frames is marked where it stands."""

from pathlib import Path

import numpy as np

from pftrack.visualization.closeup import MARK, object_picture
from pftrack.visualization.scenes import load_split


def test_an_object_is_marked_in_a_camera_and_from_above(
    demo_data: Path, demo_infos: dict[str, Path]
) -> None:
    (scene,) = load_split(demo_data, "v1.0-mini", "val")
    truth = scene.truth(2)
    picture = object_picture(scene, 2, {scene.tokens[2]: truth}, truth.center[0], size=200)
    assert picture.shape == (24 + 150 + 200, 400, 3)
    marked = (np.abs(picture.astype(int) - MARK) < 100).all(-1)  # smooth lines are paler
    before, now = marked[:, :200], marked[:, 200:]
    for column in (before, now):
        assert column[24:174].any() and column[174:].any()
    # The place is the same on the map, the vehicle has moved between the two frames.
    assert (before[174:] != now[174:]).any()


def test_before_the_first_frame_there_is_none(demo_data: Path, demo_infos: dict[str, Path]) -> None:
    (scene,) = load_split(demo_data, "v1.0-mini", "val")
    picture = object_picture(scene, 0, {}, np.array([0.0, 0.0]), size=100)
    assert (picture[:, :100] == picture[:, 100:]).all()
