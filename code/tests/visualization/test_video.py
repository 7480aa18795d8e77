"""Videos: what is drawn where, and files that are complete or absent."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pftrack import geometry
from pftrack.boxes import Boxes
from pftrack.errors import UserError
from pftrack.frames import Frame
from pftrack.structures import CAMERAS
from pftrack.visualization.bird_view import BACKGROUND, BirdView
from pftrack.visualization.camera_view import NEAR, CameraView, clip_to_front
from pftrack.visualization.mosaic import (
    HEADER,
    Style,
    camera_views,
    draw_frame,
    read_lidar,
)
from pftrack.visualization.scenes import boxes_of_samples
from pftrack.visualization.trails import History, track_color
from pftrack.visualization.video_file import write_gif, write_mp4, write_png

YAWS = np.deg2rad([0, -55, 55, 180, 110, -110])  # cameras in the order of CAMERAS, to the left
WIDTH, HEIGHT, FOCAL = 320, 180, 250.0


def rig_frame(ego_yaw: float = 0.7) -> Frame:
    """Six cameras looking around from 1.5 m above an ego vehicle somewhere on the map."""
    optical = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], dtype=float)  # camera axes in ego axes
    poses = []
    for yaw in YAWS:
        turn = geometry.pose_matrix(geometry.quaternion_from_yaw(yaw), [0, 0, 0])[:3, :3]
        poses.append(geometry.pose_matrix(turn @ optical, [0.5, 0, 1.5]))
    ego2global = geometry.pose_matrix(geometry.quaternion_from_yaw(ego_yaw), [600, 1200, 0])
    intrinsics = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    return Frame(
        images=[np.full((HEIGHT, WIDTH, 3), 60, dtype=np.uint8) for _ in CAMERAS],
        intrinsics=np.stack([intrinsics] * 6),
        sensor2ego=np.stack(poses),
        camera_ego2global=np.stack([ego2global] * 6),
        lidar2ego=geometry.pose_matrix(geometry.quaternion_from_yaw(-np.pi / 2), [0.9, 0, 1.8]),
        ego2global=ego2global,
        timestamp=0.0,
    )


def boxes_at(frame: Frame, ego_points, forecast=None, size=(1.8, 4.0, 1.6)) -> Boxes:
    """Cars standing on the road at points (x forward, y left) of the ego frame, facing forward."""
    points = np.array([[x, y, size[2] / 2] for x, y in ego_points], float)
    n = len(points)
    yaw = geometry.yaw_from_quaternion(geometry.matrix_to_quaternion(frame.ego2global[:3, :3]))
    return Boxes(
        ids=[f"1-{i}" for i in range(n)],
        names=["car"] * n,
        scores=np.ones(n),
        center=geometry.transform_points(points, frame.ego2global),
        size=np.tile(size, (n, 1)),
        rotation=np.tile(geometry.quaternion_from_yaw(yaw), (n, 1)),
        velocity=np.zeros((n, 2)),
        forecast=[forecast] * n,
    )


def colored(image: np.ndarray, color) -> np.ndarray:
    """Pixels [n, 2] (x, y) close to a colour."""
    close = np.abs(image.astype(int) - np.array(color)).sum(-1) < 60
    y, x = np.nonzero(close)
    return np.stack([x, y], -1)


@pytest.mark.parametrize("camera", range(6))
def test_boxes_land_where_the_pinhole_says(camera):
    """A car 12 m away along a camera's axis: drawn in that camera, centred, of the right width."""
    frame = rig_frame()
    direction = np.array([np.cos(YAWS[camera]), np.sin(YAWS[camera])])
    boxes = boxes_at(frame, [direction * 12 + (0.5, 0)], size=(2.0, 2.0, 1.0))
    views = camera_views(frame, WIDTH)
    for view in views:
        view.draw_boxes(boxes, labels=False)
    drawn = [len(colored(view.image, track_color("1-0"))) for view in views]
    assert np.argmax(drawn) == camera
    pixels = colored(views[camera].image, track_color("1-0"))
    assert abs((pixels[:, 0].min() + pixels[:, 0].max()) / 2 - WIDTH / 2) < 2
    nearest = 12 - 1 if camera in (0, 3) else 12 - np.hypot(1, 1)
    highest, lowest = pixels[:, 1].min(), pixels[:, 1].max()
    assert highest == pytest.approx(HEIGHT / 2 + FOCAL * 0.5 / (12 + 1.2), abs=3)
    assert lowest == pytest.approx(HEIGHT / 2 + FOCAL * 1.5 / nearest, abs=3.5)


def test_resized_images_keep_their_boxes():
    """At half the width every corner lies at half the place, pixel centres at half-integers."""
    frame = rig_frame()
    whole, half = camera_views(frame, WIDTH)[0], camera_views(frame, WIDTH // 2)[0]
    boxes = boxes_at(frame, [(10, 1)])
    corners = boxes.corners(np.eye(4))[0]
    a, _ = geometry.project(corners, whole.global2img)
    b, _ = geometry.project(corners, half.global2img)
    np.testing.assert_allclose((a + 0.5) / 2, b + 0.5, atol=1e-9)


def test_far_and_hidden_boxes_are_left_out():
    frame = rig_frame()
    view = camera_views(frame, WIDTH)[0]
    boxes = boxes_at(frame, [(20, 0), (10, 0), (-10, 0), (10, 30), (200, 0)])
    assert view.visible(boxes).tolist() == [0, 1]  # far ones first
    assert view.visible(boxes.select([])).tolist() == []


@given(st.lists(st.tuples(*[st.floats(-50, 50) for _ in range(6)]), min_size=1, max_size=20))
def test_clipped_segments_lie_in_front_and_on_the_line(values):
    points = np.array(values).reshape(-1, 2, 3)
    segments = points.copy()
    segments[..., :2] *= segments[..., 2:]
    pixels = clip_to_front(segments)
    in_front = (points[..., 2] > NEAR).any(axis=1)
    assert len(pixels) == in_front.sum() and np.isfinite(pixels).all()
    whole = (points[in_front][..., 2] > NEAR).all(axis=1)
    np.testing.assert_allclose(pixels[whole], points[in_front][whole][..., :2], atol=1e-6)


def test_bird_view_places_forward_up_and_left_left():
    frame = rig_frame()
    view = BirdView(500, geometry.invert_pose(frame.ego2global), radius=50)
    boxes = boxes_at(frame, [(20, 10)], size=(2, 4, 1.5))
    view.draw_boxes(boxes, labels=False)
    pixels = colored(view.image, track_color("1-0"))
    middle = (pixels.min(0) + pixels.max(0)) / 2
    np.testing.assert_allclose(middle, [250 - 10 * 5, 250 - 20 * 5], atol=1)
    np.testing.assert_allclose(np.ptp(pixels, axis=0), [2 * 5, 4 * 5], atol=3)


def test_lidar_of_the_bird_view_agrees_with_the_boxes():
    frame = rig_frame()
    view = BirdView(500, geometry.invert_pose(frame.ego2global), radius=50)
    before = view.image.copy()
    in_ego = np.array([[30.0, -20.0, 1.0]])
    in_lidar = geometry.transform_points(in_ego, geometry.invert_pose(frame.lidar2ego))
    view.draw_lidar(np.concatenate([in_lidar, [[500, 0, 0]]]), frame.lidar2ego)
    changed = np.argwhere((view.image != before).any(-1))
    assert changed.tolist() == [[250 - 30 * 5, 250 + 20 * 5]]


def test_forecast_and_history_are_drawn_on_the_road():
    frame = rig_frame()
    forward = frame.ego2global[:2, 0]
    boxes = boxes_at(frame, [(10, 0)], forecast=np.tile(forward * 2, (8, 1)))
    np.testing.assert_allclose(
        boxes.forecast_path(0)[-1],
        geometry.transform_points(np.array([[26.0, 0, 0]]), frame.ego2global)[0],
    )
    view = BirdView(500, geometry.invert_pose(frame.ego2global), radius=50)
    view.draw_paths(boxes, None)
    pixels = colored(view.image, track_color("1-0"))
    assert abs(pixels[:, 0] - 250).max() < 4
    assert pixels[:, 1].min() == pytest.approx(250 - 26 * 5, abs=4)
    assert pixels[:, 1].max() == pytest.approx(250 - 10 * 5, abs=4)
    camera = camera_views(frame, WIDTH)[0]
    camera.draw_paths(boxes, None)
    assert len(colored(camera.image, track_color("1-0"))) > 20


def test_history_keeps_the_last_positions_of_live_tracks():
    frame, history = rig_frame(), History(length=3)
    for x in range(5):
        history.update(boxes_at(frame, [(x, 0), (x, 5)]))
    path = history.path("1-0")
    ego = geometry.transform_points(path, geometry.invert_pose(frame.ego2global))
    np.testing.assert_allclose(ego[:, 0], [2, 3, 4], atol=1e-9)
    for _ in range(4):
        history.update(boxes_at(frame, [(9, 0)]))
    assert len(history.path("1-1")) == 0 and len(history.path("1-0")) == 3
    assert len(history.path("unknown")) == 0


def test_colors_depend_on_the_id_alone_and_differ():
    colors = {track_color(f"1-{i}") for i in range(60)}
    assert len(colors) > 50 and track_color("1-7") == track_color("1-7")
    assert all(max(color) > 200 for color in colors)


@pytest.mark.parametrize(
    "style",
    [Style(160), Style(160, bird=False), Style(160, cameras=False), Style(160, labels=False)],
)
def test_picture_of_a_frame(style):
    frame = rig_frame()
    boxes = boxes_at(frame, [(10, 0), (-8, 3)], forecast=np.ones((8, 2)))
    history = History()
    history.update(boxes)
    picture = draw_frame(frame, boxes, history, boxes, np.zeros((5, 5), np.float32), "t", style)
    assert picture.dtype == np.uint8 and picture.shape[0] % 2 == 0 and picture.shape[1] % 2 == 0
    cameras, bird = 3 * 160 * style.cameras, (180 if style.cameras else 320) * style.bird
    assert picture.shape[1] == cameras + bird
    assert len(colored(picture[HEADER:], track_color("1-0"))) > 20
    empty = draw_frame(frame, boxes.select([]), None, None, None, "", style)
    assert empty.shape == picture.shape


def test_tracks_of_the_streaming_interface_are_drawn_like_results():
    a = Boxes(
        ["1-3"], ["car"], np.array([0.5]), np.array([[1.0, 2, 3]]), np.array([[2.0, 4, 1.5]]),
        np.array([[1.0, 0, 0, 0]]), np.zeros((1, 2)), [np.ones((8, 2))],
    )  # fmt: skip
    entry = {
        "tracking_id": "1-3", "tracking_name": "car", "tracking_score": 0.5,
        "translation": [1, 2, 3], "size": [2, 4, 1.5], "rotation": [1, 0, 0, 0],
        "forecasting": [[1, 1]] * 8,
    }  # fmt: skip
    b = Boxes.from_rows([entry])
    assert a.ids == b.ids and a.names == b.names
    np.testing.assert_array_equal(a.corners(np.eye(4)), b.corners(np.eye(4)))
    np.testing.assert_array_equal(a.forecast_path(0), b.forecast_path(0))
    np.testing.assert_allclose(a.corners(np.eye(4))[0].max(0), [3, 3, 3.75])


def test_box_right_at_the_camera_is_cut_not_smeared():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame = rig_frame()
    view = CameraView(image, camera_views(frame, WIDTH)[0].global2img)
    view.draw_boxes(boxes_at(frame, [(1.5, 1.0)]))
    assert image.shape == (HEIGHT, WIDTH, 3)


# --- files ----------------------------------------------------------------------------------------


def moving_square(n: int = 6):
    for t in range(n):
        picture = np.full((91, 121, 3), BACKGROUND, np.uint8)
        picture[40:50, 10 * t : 10 * t + 10] = (0, 0, 255)
        yield picture


def test_mp4_is_h264_and_shows_the_frames(tmp_path):
    import av

    write_mp4(tmp_path / "v.mp4", moving_square(), fps=4)
    with av.open(str(tmp_path / "v.mp4")) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.average_rate == 4
        frames = [f.to_ndarray(format="bgr24") for f in file.decode(stream)]
    assert len(frames) == 6 and frames[0].shape == (90, 120, 3)
    for t, frame in enumerate(frames):
        x = np.argmax(frame[45, :, 2].astype(int) - frame[45, :, 0])
        assert abs(x - (10 * t + 5)) <= 6
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_gif_and_png(tmp_path):
    from PIL import Image

    write_gif(tmp_path / "v.gif", moving_square(), fps=4, width=60)
    with Image.open(tmp_path / "v.gif") as gif:
        assert gif.n_frames == 6 and gif.size == (60, 45) and gif.info["loop"] == 0
    picture = next(moving_square())
    write_png(tmp_path / "p.png", picture)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "p.png")), picture)


@pytest.mark.parametrize("write", [write_mp4, write_gif])
def test_nothing_half_written(tmp_path, write):
    def broken():
        yield from moving_square(2)
        raise RuntimeError("drawing failed")

    with pytest.raises(RuntimeError):
        write(tmp_path / "v", broken(), 4)
    assert not list(tmp_path.iterdir())


# --- results and command line ---------------------------------------------------------------------


def test_results_are_read_for_the_samples_asked_for(tmp_path):
    box = {
        "tracking_id": "1-1", "tracking_name": "car", "tracking_score": 0.5,
        "translation": [1, 2, 3], "size": [2, 4, 1.5], "rotation": [1, 0, 0, 0],
    }  # fmt: skip
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"meta": {}, "results": {"a": [box], "b": [], "c": [box, box]}}))
    found = boxes_of_samples(path, {"a", "b"})
    assert {token: len(boxes) for token, boxes in found.items()} == {"a": 1, "b": 0}
    with pytest.raises(UserError, match="none of the 1 samples"):
        boxes_of_samples(path, {"z"})
    del box["size"]
    path.write_text(json.dumps({"results": {"a": [box]}}))
    with pytest.raises(UserError, match=r"box 0 of sample 'a': .*size"):
        boxes_of_samples(path, {"a"})
    path.write_text('{"results": {"a": [')
    with pytest.raises(UserError, match=r"r\.json"):
        boxes_of_samples(path, {"a"})


def test_damaged_lidar_file(tmp_path):
    (tmp_path / "l.bin").write_bytes(b"1234" * 7)
    with pytest.raises(UserError, match="damaged"):
        read_lidar(tmp_path / "l.bin")
