"""Boxes, poses, projections: hand-checked values, round trips and group laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pftrack import geometry as geo

settings.register_profile("geometry", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("geometry")

RANGE = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_subnormal=False)


def points(n: int = 5, extent: float = 60.0) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, (n, 3), elements=floats(-extent, extent))


@st.composite
def quaternions(draw: st.DrawFn) -> np.ndarray:
    q = np.array([draw(floats(-1, 1)) for _ in range(4)])
    norm = np.linalg.norm(q)
    return q / norm if norm > 1e-2 else np.array([1.0, 0.0, 0.0, 0.0])


@st.composite
def poses(draw: st.DrawFn) -> np.ndarray:
    return geo.pose_matrix(draw(quaternions()), [draw(floats(-2000, 2000)) for _ in range(3)])


@st.composite
def boxes(draw: st.DrawFn, n: int = 4) -> np.ndarray:
    center = draw(points(n))
    size = draw(hnp.arrays(np.float64, (n, 3), elements=floats(0.1, 15)))
    rest = draw(hnp.arrays(np.float64, (n, 3), elements=floats(-3, 3)))
    return np.concatenate([center, size, rest], axis=1)


# --- quaternions and poses ------------------------------------------------------------------------


def test_quaternion_turns_counter_clockwise() -> None:
    quarter = geo.quaternion_from_yaw(np.pi / 2)
    np.testing.assert_allclose(quarter, [np.sqrt(0.5), 0, 0, np.sqrt(0.5)])
    np.testing.assert_allclose(geo.quaternion_to_matrix(quarter) @ [1, 0, 0], [0, 1, 0], atol=1e-15)


@given(quaternions(), quaternions())
def test_quaternion_product_is_matrix_product(a: np.ndarray, b: np.ndarray) -> None:
    product = geo.quaternion_to_matrix(geo.quaternion_multiply(a, b))
    np.testing.assert_allclose(
        product, geo.quaternion_to_matrix(a) @ geo.quaternion_to_matrix(b), atol=1e-12
    )


@given(quaternions())
def test_quaternion_matrix_round_trip(q: np.ndarray) -> None:
    back = geo.matrix_to_quaternion(geo.quaternion_to_matrix(q))
    assert back[0] >= 0
    assert abs(abs(back @ q) - 1) < 1e-12  # equal up to the sign, which means the same rotation


def test_quaternion_functions_agree_with_pyquaternion() -> None:
    pyquaternion = pytest.importorskip("pyquaternion")
    rng = np.random.default_rng(0)
    for q in rng.normal(size=(20, 4)):
        theirs = pyquaternion.Quaternion(q).unit
        np.testing.assert_allclose(geo.quaternion_to_matrix(q), theirs.rotation_matrix, atol=1e-12)
        v = theirs.rotation_matrix @ [1, 0, 0]
        np.testing.assert_allclose(geo.yaw_from_quaternion(q), np.arctan2(v[1], v[0]))


@given(floats(-3.1, 3.1))
def test_yaw_round_trip(yaw: float) -> None:
    assert abs(geo.yaw_from_quaternion(geo.quaternion_from_yaw(yaw)) - yaw) < 1e-12


@given(poses(), poses(), poses())
def test_poses_form_a_group(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    np.testing.assert_allclose(geo.invert_pose(a) @ a, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(a @ geo.invert_pose(a), np.eye(4), atol=1e-9)
    np.testing.assert_allclose((a @ b) @ c, a @ (b @ c), atol=1e-8)
    np.testing.assert_allclose(
        geo.invert_pose(a @ b), geo.invert_pose(b) @ geo.invert_pose(a), atol=1e-9
    )


@given(points(), st.lists(poses(), min_size=2, max_size=2))
def test_rotation_without_a_matrix_product(p: np.ndarray, pair: list[np.ndarray]) -> None:
    """What positions take on a GPU."""
    vectors, pose = torch.from_numpy(np.stack([p, -p])), torch.from_numpy(np.stack(pair))
    sums = geo._sums_of_products(vectors, pose[..., :3, :3])
    torch.testing.assert_close(sums, geo.rotate_vectors(vectors, pose), atol=1e-12, rtol=1e-12)


@given(points(), poses(), poses())
def test_transforming_twice_is_transforming_by_the_product(
    p: np.ndarray, a: np.ndarray, b: np.ndarray
) -> None:
    twice = geo.transform_points(geo.transform_points(p, a), b)
    np.testing.assert_allclose(twice, geo.transform_points(p, b @ a), atol=1e-8)
    np.testing.assert_allclose(
        geo.rotate_vectors(p, a), geo.transform_points(p, a) - a[:3, 3], atol=1e-9
    )


def test_batched_poses_equal_single_ones() -> None:
    rng = np.random.default_rng(1)
    q, t, p = rng.normal(size=(3, 4)), rng.normal(size=(3, 3)), rng.normal(size=(3, 5, 3))
    batch = geo.pose_matrix(q, t)
    for i in range(3):
        single = geo.pose_matrix(q[i], t[i])
        np.testing.assert_allclose(batch[i], single)
        np.testing.assert_allclose(
            geo.transform_points(p, batch)[i], geo.transform_points(p[i], single), atol=1e-14
        )


# --- ego motion and normalised coordinates --------------------------------------------------------


@given(points(), poses(), poses())
def test_ego_motion_there_and_back(p: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    there = geo.change_lidar_frame(p, a, b)
    np.testing.assert_allclose(geo.change_lidar_frame(there, b, a), p, atol=1e-8)
    np.testing.assert_allclose(geo.change_lidar_frame(p, a, a), p, atol=1e-8)
    # The same place on the map.
    np.testing.assert_allclose(
        geo.transform_points(there, b), geo.transform_points(p, a), atol=1e-8
    )


@given(points(), poses(), poses())
def test_ego_motion_as_a_matrix(p: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    motion = geo.lidar_motion(a, b)
    there = geo.change_lidar_frame(p, a, b)
    np.testing.assert_allclose(geo.transform_points(p, motion), there, atol=1e-8)
    np.testing.assert_allclose(geo.chain(motion, b), a, atol=1e-8)


def test_ego_motion_in_float32_keeps_tenth_of_a_millimetre() -> None:
    rng = np.random.default_rng(2)
    p = rng.uniform(-50, 50, (100, 3))
    a = geo.pose_matrix(geo.quaternion_from_yaw(0.7), [1603.2, 603.7, 1.8])
    b = geo.pose_matrix(geo.quaternion_from_yaw(0.75), [1606.2, 606.3, 1.8])
    exact = geo.change_lidar_frame(p, a, b)
    single = geo.change_lidar_frame(*(torch.tensor(x, dtype=torch.float32) for x in (p, a, b)))
    assert np.abs(single.numpy() - exact).max() < 2e-4
    motion = geo.lidar_motion(*(torch.tensor(x, dtype=torch.float32) for x in (a, b)))
    moved = geo.transform_points(torch.tensor(p, dtype=torch.float32), motion)
    assert np.abs(moved.numpy() - exact).max() < 2e-4


@given(points())
def test_normalised_points_round_trip(p: np.ndarray) -> None:
    back = geo.denormalize_points(geo.normalize_points(p, RANGE), RANGE)
    np.testing.assert_allclose(back, p, atol=1e-12)


def test_normalised_points_of_the_range_corners() -> None:
    corners = np.array([RANGE[:3], RANGE[3:]])
    np.testing.assert_allclose(geo.normalize_points(corners, RANGE), [[0, 0, 0], [1, 1, 1]])


# --- boxes ----------------------------------------------------------------------------------------


@given(boxes())
def test_boxes_of_mmdet3d(b: np.ndarray) -> None:
    found = geo.legacy_to_mm3d(b)
    np.testing.assert_array_equal(found[:, [0, 1, 3, 4, 5, 7, 8]], b[:, [0, 1, 4, 3, 5, 7, 8]])
    np.testing.assert_allclose(found[:, 2] + b[:, 5] / 2, b[:, 2], atol=1e-12)
    np.testing.assert_allclose(geo.yaw_to_rot(found[:, 6]), b[:, 6], atol=1e-12)


def test_box_conventions_hand_checked() -> None:
    # A car 2 m wide, 4 m long, 1.5 m high, heading along +y.
    yaw = np.pi / 2
    legacy = np.array([[10.0, 5.0, 0.0, 2.0, 4.0, 1.5, -yaw - np.pi / 2, 0.0, 3.0]])
    np.testing.assert_allclose(
        geo.legacy_to_mm3d(legacy), [[10.0, 5.0, -0.75, 4.0, 2.0, 1.5, yaw, 0.0, 3.0]], atol=1e-15
    )
    corners = geo.box_corners(legacy)[0]
    np.testing.assert_allclose(corners.min(0), [9, 3, -0.75], atol=1e-12)
    np.testing.assert_allclose(corners.max(0), [11, 7, 0.75], atol=1e-12)
    np.testing.assert_allclose(corners[list(geo.FRONT_CORNERS), 1], 7)


@given(boxes())
def test_box_corners(b: np.ndarray) -> None:
    corners = geo.box_corners(b)
    np.testing.assert_allclose(corners.mean(1), b[:, :3], atol=1e-9)
    lengths = np.array(
        [np.linalg.norm(corners[:, i] - corners[:, j], axis=-1) for i, j in geo.BOX_EDGES]
    )
    np.testing.assert_allclose(np.sort(lengths.T, axis=1)[:, ::4], np.sort(b[:, 3:6]), atol=1e-9)
    # The front face lies half a length ahead of the centre along the heading.
    yaw = geo.rot_to_yaw(b[:, 6])
    ahead = np.stack([np.cos(yaw), np.sin(yaw)], 1) * b[:, 4:5] / 2
    front = corners[:, list(geo.FRONT_CORNERS)].mean(1)
    np.testing.assert_allclose(front[:, :2], b[:, :2] + ahead, atol=1e-9)


@given(boxes(), floats(-3, 3), floats(-3, 3))
def test_box_rotations_add_up(b: np.ndarray, one: float, two: float) -> None:
    np.testing.assert_allclose(
        geo.rotate_boxes(geo.rotate_boxes(b, one), two), geo.rotate_boxes(b, one + two), atol=1e-9
    )
    # Turning boxes turns their corners: clockwise by the angle.
    turned = geo.pose_matrix(geo.quaternion_from_yaw(-one), np.zeros(3))
    np.testing.assert_allclose(
        geo.box_corners(geo.rotate_boxes(b, one)),
        geo.transform_points(geo.box_corners(b), turned[None]),
        atol=1e-9,
    )


@given(hnp.arrays(np.float64, 5, elements=floats(-50, 50)))
def test_limit_angle(angle: np.ndarray) -> None:
    limited = geo.limit_angle(angle)
    assert (limited >= -np.pi - 1e-9).all() and (limited < np.pi + 1e-9).all()
    np.testing.assert_allclose(np.exp(1j * limited), np.exp(1j * angle), atol=1e-12)


@settings(max_examples=25)
@given(boxes(), floats(-3, 3), floats(-3, 3), points(2, 2000))
def test_boxes_to_global_keep_shape_heading_and_place(
    b: np.ndarray, yaw1: float, yaw2: float, t: np.ndarray
) -> None:
    lidar2ego = geo.pose_matrix(geo.quaternion_from_yaw(yaw1), t[0])
    ego2global = geo.pose_matrix(geo.quaternion_from_yaw(yaw2), t[1])
    center, size, quaternion, velocity = geo.legacy_boxes_to_global(b, lidar2ego, ego2global)
    l2g = ego2global @ lidar2ego
    np.testing.assert_allclose(center, geo.transform_points(b[:, :3], l2g), atol=1e-8)
    np.testing.assert_array_equal(size, b[:, 3:6])
    heading = geo.yaw_from_quaternion(quaternion) - yaw1 - yaw2 - geo.rot_to_yaw(b[:, 6])
    np.testing.assert_allclose(np.exp(1j * heading), 1, atol=1e-9)
    np.testing.assert_allclose(
        np.linalg.norm(velocity, axis=1), np.hypot(b[:, 7], b[:, 8]), atol=1e-9
    )


def test_numpy_and_torch_agree() -> None:
    rng = np.random.default_rng(3)
    b, p = rng.normal(size=(6, 9)), rng.normal(size=(6, 3))
    a, c = (geo.pose_matrix(q, rng.normal(size=3)) for q in rng.normal(size=(2, 4)))
    calls = [
        (geo.box_corners, (b,)),
        (geo.legacy_to_mm3d, (b,)),
        (geo.limit_angle, (b[:, 6],)),
        (geo.invert_pose, (a,)),
        (geo.transform_points, (p, a)),
        (geo.change_lidar_frame, (p, a, c)),
        (geo.lidar_motion, (a, c)),
        (geo.chain, (a, c)),
        (geo.rotate_boxes, (b, b[:, 0])),
    ]
    for function, arguments in calls:
        tensors = [torch.from_numpy(x) for x in arguments]
        result = function(*tensors)
        assert isinstance(result, torch.Tensor)
        np.testing.assert_allclose(result.numpy(), function(*arguments), atol=1e-12)


# --- cameras --------------------------------------------------------------------------------------


def test_projection_hand_checked() -> None:
    # Camera at the origin looking along the lidar's +x, image x to the right, y down.
    lidar2cam = np.eye(4)
    lidar2cam[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    intrinsics = np.array([[1000.0, 0, 800], [0, 1000, 450], [0, 0, 1]])
    lidar2img = geo.lidar2img_matrix(intrinsics, lidar2cam)
    pixels, depth = geo.project(np.array([[10.0, 1.0, 2.0], [-10.0, 0.0, 0.0]]), lidar2img)
    np.testing.assert_allclose(pixels[0], [800 - 100, 450 - 200])
    np.testing.assert_allclose(depth, [10, -10])


@given(poses(), points(5, 40))
def test_projection_inverts(lidar2cam: np.ndarray, p: np.ndarray) -> None:
    lidar2cam[:3, 3] /= 1000
    intrinsics = np.array([[1266.4, 0, 816.3], [0, 1266.4, 491.5], [0, 0, 1]])
    pixels, depth = geo.project(p, geo.lidar2img_matrix(intrinsics, lidar2cam))
    seen = depth > 0.1
    rays = np.concatenate([pixels, np.ones((5, 1))], 1) @ np.linalg.inv(intrinsics).T
    back = geo.transform_points(rays * depth[:, None], geo.invert_pose(lidar2cam))
    np.testing.assert_allclose(back[seen], p[seen], atol=1e-6)
