"""One record of boxes: rows of a results file, tracks, and back."""

import numpy as np
import pytest

from pftrack.boxes import Boxes
from pftrack.nuscenes.format_results import detection_results, tracking_results


@pytest.fixture()
def boxes() -> Boxes:
    turn = np.sqrt(0.5)
    return Boxes(
        ids=["1-0", "1-7"],
        names=["car", "pedestrian"],
        scores=np.array([0.75, 0.5]),
        center=np.array([[1.0, 2, 3], [4, 5, 6]]),
        size=np.array([[2.0, 4, 1.5], [0.6, 0.7, 1.8]]),
        rotation=np.array([[1.0, 0, 0, 0], [turn, 0, 0, turn]]),
        velocity=np.array([[1.0, 0], [0, -0.5]]),
        forecast=[np.ones((8, 2)), None],
    )


def test_rows_of_a_tracking_file_and_back(boxes: Boxes) -> None:
    rows = tracking_results("token", boxes)
    assert [row["tracking_id"] for row in rows] == boxes.ids
    assert ["forecasting" in row for row in rows] == [True, False]
    again = Boxes.from_rows(rows)
    assert (again.ids, again.names) == (boxes.ids, boxes.names)
    for name in ("scores", "center", "size", "rotation", "velocity"):
        np.testing.assert_array_equal(getattr(again, name), getattr(boxes, name))
    np.testing.assert_array_equal(again.forecast[0], boxes.forecast[0])
    assert again.forecast[1] is None
    assert tracking_results("token", again) == rows


def test_rows_of_a_detection_file_have_numbers_for_ids(boxes: Boxes) -> None:
    again = Boxes.from_rows(detection_results("token", boxes))
    assert again.ids == ["0", "1"] and again.names == boxes.names


def test_iterates_as_tracks(boxes: Boxes) -> None:
    car, walker = boxes
    assert (car.id, car.name, car.score, car.yaw) == ("1-0", "car", 0.75, 0.0)
    assert walker.yaw == pytest.approx(np.pi / 2) and walker.forecast is None
    np.testing.assert_array_equal(car.velocity, [1, 0])


def test_select_by_mask_and_index(boxes: Boxes) -> None:
    for keep in (np.array([False, True]), np.array([1])):
        one = boxes.select(keep)
        assert one.ids == ["1-7"] and one.center.tolist() == [[4, 5, 6]] and len(one) == 1
    assert len(Boxes.from_rows([])) == len(boxes.select(np.array([], int))) == 0
    assert list(Boxes.from_rows([])) == []


def test_a_row_without_velocity_is_unknown_and_without_place_an_error() -> None:
    row = {"translation": [0, 0, 0], "size": [1, 1, 1], "rotation": [1, 0, 0, 0]}
    assert np.isnan(Boxes.from_rows([row]).velocity).all()
    with pytest.raises(KeyError):
        Boxes.from_rows([{"size": [1, 1, 1]}])
