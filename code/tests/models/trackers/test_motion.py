"""Moving tracks: by forecast, by velocity, and with the ego vehicle."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tracker import PC_RANGE

from pftrack.geometry import change_lidar_frame, denormalize_points, normalize_points
from pftrack.models.box_coder import code_centers
from pftrack.models.trackers import motion
from pftrack.models.trackers.track_instances import TrackInstances


def tracks(count: int = 3) -> TrackInstances:
    torch.manual_seed(0)
    sample = TrackInstances.empty(
        torch.rand(count, 3), torch.zeros(count, 4), torch.zeros(count, 4), 10, 3, 4
    )
    state = sample.state.replace(bboxes=torch.randn(count, 10) * 10)
    return sample.replace(
        state=state,
        hist_xyz=torch.rand(count, 3, 3),
        fut_xyz=torch.rand(count, 4, 3),
        fut_bboxes=torch.randn(count, 4, 10),
    )


def pose(yaw: float, x: float, y: float) -> torch.Tensor:
    c, s = torch.cos(torch.tensor(yaw)), torch.sin(torch.tensor(yaw))
    matrix = torch.eye(4)
    matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1] = c, -s, s, c
    matrix[0, 3], matrix[1, 3] = x, y
    return matrix


def driven(sample: TrackInstances, l2g: torch.Tensor, next_l2g: torch.Tensor) -> TrackInstances:
    return motion.compensate_ego_motion(
        sample, lambda points: change_lidar_frame(points, l2g, next_l2g), PC_RANGE
    )


angle, metres = st.floats(-3, 3), st.floats(-2000, 2000)


@settings(max_examples=25, deadline=None)
@given(yaw=angle, turn=st.floats(-0.3, 0.3), x=metres, y=metres, step=st.floats(-10, 10))
def test_ego_motion_there_and_back_is_the_identity(yaw, turn, x, y, step):
    first, second = pose(yaw, x, y), pose(yaw + turn, x + step, y)
    start = tracks()
    there = driven(start, first, second)
    back = driven(there, second, first)
    for name in ("hist_xyz", "fut_xyz"):
        torch.testing.assert_close(getattr(back, name), getattr(start, name), rtol=0, atol=2e-5)
    torch.testing.assert_close(back.fut_bboxes, start.fut_bboxes, rtol=0, atol=2e-3)
    torch.testing.assert_close(back.state.bboxes, start.state.bboxes, rtol=0, atol=2e-3)


def test_driving_forward_moves_everything_backward_and_turns_no_box():
    moved = driven(tracks(), pose(0, 0, 0), pose(0, 5, 0))
    shift = code_centers(moved.state.bboxes) - code_centers(tracks().state.bboxes)
    torch.testing.assert_close(shift, torch.tensor([[-5.0, 0, 0]] * 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(moved.state.bboxes[:, 6:], tracks().state.bboxes[:, 6:])
    metres_moved = denormalize_points(moved.hist_xyz, PC_RANGE) - denormalize_points(
        tracks().hist_xyz, PC_RANGE
    )
    torch.testing.assert_close(metres_moved[..., 0], torch.full((3, 3), -5.0), rtol=0, atol=1e-4)


def test_the_first_displacement_moves_position_and_box():
    start = tracks()
    steps = torch.zeros(3, 4, 3)
    steps[:, 0] = torch.tensor([2.0, -1.0, 9.0])  # the vertical part is not used
    start = start.replace(state=start.state.replace(motion_predictions=steps))
    moved = motion.move_by_displacement(start, PC_RANGE)
    before = denormalize_points(start.state.reference_points, PC_RANGE)
    after = denormalize_points(moved.state.reference_points, PC_RANGE)
    expected = torch.tensor([[2.0, -1.0, 0.0]] * 3)
    torch.testing.assert_close(after - before, expected, rtol=0, atol=1e-4)
    centers = code_centers(moved.state.bboxes) - code_centers(start.state.bboxes)
    torch.testing.assert_close(centers, expected, rtol=0, atol=1e-5)


def test_no_gradient_flows_through_a_displacement():
    start = tracks()
    points = start.state.reference_points.requires_grad_()
    bboxes = start.state.bboxes.requires_grad_()
    start = start.replace(state=start.state.replace(reference_points=points, bboxes=bboxes))
    motion.move_by_velocity(
        start, torch.tensor(0.5), PC_RANGE
    ).state.reference_points.sum().backward()
    torch.testing.assert_close(points.grad, torch.ones(3, 3))
    assert bboxes.grad is None


def test_velocity_is_read_as_published():
    start = tracks(1)
    bboxes = torch.zeros(1, 10)
    bboxes[0, 7:] = torch.tensor([1.0, 4.0, 100.0])  # cos rot, vx, vy
    reference = normalize_points(torch.tensor([[10.0, 10.0, 0.0]]), PC_RANGE)
    start = start.replace(state=start.state.replace(bboxes=bboxes, reference_points=reference))
    moved = motion.move_by_velocity(start, torch.tensor(0.5), PC_RANGE)
    after = denormalize_points(moved.state.reference_points, PC_RANGE)[0].tolist()
    assert after == pytest.approx([10.5, 12.0, 0.0], abs=1e-4)


def test_training_starts_at_the_first_forecast():
    moved = motion.move_to_first_forecast(tracks())
    assert torch.equal(moved.state.reference_points, tracks().fut_xyz[:, 0])
    assert torch.equal(moved.state.bboxes, tracks().fut_bboxes[:, 0])
