"""Moving tracks into the next frame: first the objects' motion, then the ego vehicle's.

Works on normalised positions and on box codes; displacements, yaw and velocity are left as they
are, as published weights expect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pftrack.geometry import denormalize_points, normalize_points
from pftrack.models.box_coder import code_centers, with_centers
from pftrack.models.trackers.track_instances import TrackInstances


def move_to_first_forecast(tracks: TrackInstances) -> TrackInstances:
    """Training: the first future entry becomes the position (and the box)."""
    state = tracks.state.replace(
        reference_points=tracks.fut_xyz[:, 0], bboxes=tracks.fut_bboxes[:, 0]
    )
    return tracks.replace(state=state)


def move_by_displacement(tracks: TrackInstances, pc_range: Sequence[float]) -> TrackInstances:
    """Tracking: add the first predicted displacement (x, y) to the position and the box."""
    dx, dy, _ = tracks.state.motion_predictions[:, 0].detach().unbind(-1)
    return _moved(tracks, dx, dy, pc_range)


def move_by_velocity(
    tracks: TrackInstances, seconds: Tensor, pc_range: Sequence[float]
) -> TrackInstances:
    """Without forecasts: constant velocity of the box.

    The published baseline reads its velocity from the entries 7 and 8 of the code, which hold
    (cos rot, vx) and not (vx, vy). Its weights were trained with that and its numbers need it.
    No gradient flows through the displacement, as none does through a forecast.

    Args:
        seconds: [] to the next frame; the product is taken in its type.
    """
    velocity = tracks.state.bboxes[:, 7:9].detach()
    dx, dy = (velocity.to(seconds.dtype) * seconds).to(velocity.dtype).unbind(-1)
    return _moved(tracks, dx, dy, pc_range)


def _moved(
    tracks: TrackInstances, dx: Tensor, dy: Tensor, pc_range: Sequence[float]
) -> TrackInstances:
    """Positions and boxes displaced by [N] m along x and y."""
    x, y, z = tracks.state.reference_points.unbind(-1)
    width, length = pc_range[3] - pc_range[0], pc_range[4] - pc_range[1]
    offsets = torch.stack([dx, dy, torch.zeros_like(dx)], dim=-1)
    bboxes = tracks.state.bboxes
    state = tracks.state.replace(
        reference_points=torch.stack([x + dx / width, y + dy / length, z], dim=-1),
        bboxes=with_centers(bboxes, code_centers(bboxes) + offsets),
    )
    return tracks.replace(state=state)


def compensate_ego_motion(
    tracks: TrackInstances, to_next: Callable[[Tensor], Tensor], pc_range: Sequence[float]
) -> TrackInstances:
    """Express positions and box centres in the next frame's lidar coordinates.

    Args:
        to_next: points [n, 3], in m, of this lidar frame in the next one's.
    """

    def metric(points: Tensor) -> Tensor:
        return to_next(points.reshape(-1, 3)).reshape(points.shape)

    def normalized(points: Tensor) -> Tensor:
        return normalize_points(metric(denormalize_points(points, pc_range)), pc_range)

    def codes(bboxes: Tensor) -> Tensor:
        return with_centers(bboxes, metric(code_centers(bboxes)))

    return tracks.replace(
        state=tracks.state.replace(
            reference_points=normalized(tracks.state.reference_points),
            bboxes=codes(tracks.state.bboxes),
        ),
        hist_xyz=normalized(tracks.hist_xyz),
        fut_xyz=normalized(tracks.fut_xyz),
        fut_bboxes=codes(tracks.fut_bboxes),
    )
