"""Boxes, poses, quaternions and projections: the only place where conventions are converted.

Conventions
    * Frames of reference: *lidar*, *ego*, *global*, *cam* (see structures.py); metres, radians.
    * A pose ``a2b`` is the 4x4 matrix that takes points of frame a to frame b; quaternions are
      ``(w, x, y, z)``, as in nuScenes.
    * Legacy boxes (in memory, info files and checkpoints) are ``[x, y, z, w, l, h, rot, vx, vy]``
      with the gravity centre and ``rot = -yaw - pi/2``; yaw is counter-clockwise from +x. Info
      files leave out the velocity, functions keep whatever follows the first seven columns.
    * mmdet3d >= 1.0 boxes are ``[x, y, z_bottom, l, w, h, yaw, ...]``.

Functions accept any number of leading dimensions. Those that only compute on arrays take numpy
arrays and torch tensors alike and return the same kind; the others say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

# Either numpy.ndarray or torch.Tensor; every argument of one call is of the same kind. Torch is
# imported where there are tensors only: deployed trackers do without.
Array = TypeVar("Array", np.ndarray, "torch.Tensor")

HALF_PI = np.pi / 2
MIN_DEPTH = 1e-5


def _backend(array: Any) -> Any:
    """The module, numpy or torch, whose functions work on ``array``."""
    if not hasattr(array, "is_cuda"):
        return np
    import torch

    return torch


# --- quaternions (numpy) --------------------------------------------------------------------------


def quaternion_to_matrix(quaternion: Any) -> np.ndarray:
    """Rotation matrices [..., 3, 3] of quaternions [..., 4], normalised first."""
    q = np.asarray(quaternion, dtype=np.float64)
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    w, x, y, z = np.moveaxis(q, -1, 0)
    entries = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in entries], axis=-2)


def matrix_to_quaternion(rotation: Any) -> np.ndarray:
    """Unit quaternions [..., 4] with w >= 0 of rotation matrices [..., 3, 3].

    From the largest of the four components, which is found without cancellation.
    """
    r = np.moveaxis(np.asarray(rotation, dtype=np.float64), (-2, -1), (0, 1))
    # Four times the products of the components, row by row those with w, x, y and z.
    w, x, y, z = (
        1 + r[0, 0] * a + r[1, 1] * b + r[2, 2] * c
        for a, b, c in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
    )
    wx, wy, wz = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
    xy, xz, yz = r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1]
    rows = [[w, wx, wy, wz], [wx, x, xy, xz], [wy, xy, y, yz], [wz, xz, yz, z]]
    products = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    largest = np.argmax(np.stack([w, x, y, z], axis=-1), axis=-1)
    quaternion = np.take_along_axis(products, largest[..., None, None], axis=-2)[..., 0, :]
    quaternion = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
    return np.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def quaternion_multiply(a: Any, b: Any) -> np.ndarray:
    """Hamilton product: rotates by ``b`` first, then by ``a``; [..., 4] each, broadcast."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    w1, x1, y1, z1 = np.moveaxis(a, -1, 0)
    w2, x2, y2, z2 = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ],
        axis=-1,
    )


def quaternion_from_yaw(yaw: Any) -> np.ndarray:
    """Quaternions [..., 4] of rotations by ``yaw`` [...] about +z."""
    half = np.asarray(yaw, dtype=np.float64) / 2
    zero = np.zeros_like(half)
    return np.stack([np.cos(half), zero, zero, np.sin(half)], axis=-1)


def yaw_from_quaternion(quaternion: Any) -> np.ndarray:
    """Heading [...] of the rotated +x axis in the x-y plane (nuScenes ``quaternion_yaw``)."""
    forward = quaternion_to_matrix(quaternion)[..., :, 0]
    return np.arctan2(forward[..., 1], forward[..., 0])


# --- poses ----------------------------------------------------------------------------------------


def pose_matrix(rotation: Any, translation: Any) -> np.ndarray:
    """Poses [..., 4, 4] float64 of rotations and translations [..., 3].

    Args:
        rotation: quaternions [..., 4], or rotation matrices [..., 3, 3] (told apart by the shape).
    """
    rotation = np.asarray(rotation, dtype=np.float64)
    if rotation.shape[-1] == 4:
        rotation = quaternion_to_matrix(rotation)
    translation = np.asarray(translation, dtype=np.float64)
    pose = np.zeros((*rotation.shape[:-2], 4, 4))
    pose[..., :3, :3] = rotation
    pose[..., :3, 3] = translation
    pose[..., 3, 3] = 1
    return pose


def invert_pose(pose: Array) -> Array:
    """Inverse of rigid transforms [..., 4, 4]: rotation transposed, no linear solve."""
    xp = _backend(pose)
    rotation = xp.swapaxes(pose[..., :3, :3], -1, -2)
    inverse = xp.zeros_like(pose)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3] = -(rotation @ pose[..., :3, 3:])[..., 0]
    inverse[..., 3, 3] = 1
    return inverse


def transform_points(points: Array, pose: Array) -> Array:
    """Points [..., n, 3] through affine transforms [..., 4, 4]."""
    return rotate_vectors(points, pose) + pose[..., None, :3, 3]


def rotate_vectors(vectors: Array, pose: Array) -> Array:
    """Directions [..., n, 3] through the rotation part of [..., 4, 4] (or [..., 3, 3]) only.

    On a GPU and in a traced graph as sums of products: matrix products may be set to TF32 (11 bits,
    3 cm at 60 m), for the backward pass too.
    """
    rotation = pose[..., :3, :3]
    if isinstance(vectors, np.ndarray):
        return vectors @ np.swapaxes(rotation, -1, -2)
    import torch

    if vectors.is_cuda or torch.compiler.is_compiling():
        return _sums_of_products(vectors, rotation)
    return vectors @ rotation.transpose(-1, -2)


def _sums_of_products(vectors: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """[..., n, 3] @ [..., 3, 3] transposed, without a matrix product."""
    x, y, z = vectors[..., None].unbind(-2)  # [..., n, 1]
    columns = rotation[..., None, :, :].unbind(-1)  # [..., 1, 3]
    return x * columns[0] + y * columns[1] + z * columns[2]


def change_lidar_frame(points: Array, l2g: Array, next_l2g: Array) -> Array:
    """Ego motion: points [..., n, 3] of one lidar frame expressed in the next one's.

    Works through global coordinates and subtracts the next origin before rotating back, which
    keeps float32 good to 1e-5 m at global coordinates of thousands of metres. Rotates back by the
    inverse, not the transpose: in float32 they differ, and the original tracker takes the former.

    Args:
        l2g, next_l2g: lidar-to-global poses [..., 4, 4] of the two frames.
    """
    offset = transform_points(points, l2g) - next_l2g[..., None, :3, 3]
    return rotate_vectors(offset, _inverse(next_l2g[..., :3, :3]))


def lidar_motion(l2g: Array, next_l2g: Array) -> Array:
    """Ego motion as a matrix [..., 4, 4]: points of one lidar frame to the next one's.

    Args:
        l2g, next_l2g: lidar-to-global poses [..., 4, 4] of the two frames.
    """
    shifted = l2g + 0  # a copy, of either kind
    shifted[..., :3, 3] -= next_l2g[..., :3, 3]
    return _rotated(shifted, _inverse(next_l2g[..., :3, :3]))


def chain(first: Array, second: Array) -> Array:
    """The affine transform [..., 4, 4] that does ``first``, then ``second``."""
    both = _rotated(first, second)
    both[..., :3, 3] += second[..., :3, 3]
    return both


def _rotated(affine: Array, rotation: Array) -> Array:
    """An affine transform [..., 4, 4], then a rotation [..., 3, 3], or that of [..., 4, 4]."""
    columns = rotate_vectors(affine[..., :3, :].swapaxes(-1, -2), rotation)
    rotated = affine + 0
    rotated[..., :3, :] = columns.swapaxes(-1, -2)
    return rotated


def _inverse(rotation: Array) -> Array:
    """Of rotations [..., 3, 3], without waiting for a GPU."""
    if isinstance(rotation, np.ndarray):
        return np.linalg.inv(rotation)
    import torch

    identity = torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    # Unchecked, so without synchronisation; from the right, as LAPACK's inverse does.
    return torch.linalg.solve_ex(rotation, identity.expand_as(rotation), left=False).result


# --- normalised coordinates -----------------------------------------------------------------------


def _range_bounds(points: Array, pc_range: Sequence[float]) -> tuple[Array, Array]:
    if isinstance(points, np.ndarray):
        bounds = np.asarray(pc_range, dtype=points.dtype)
    else:
        bounds = constant(tuple(pc_range), points.dtype, points.device)
    return bounds[:3], bounds[3:6] - bounds[:3]


def kept(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Have a function of plain values give the same tensor again, which is never written to.

    Arguments name everything that the tensor depends on, its type and device included: what was
    made in float32 must not be met where somebody computes in float64. Copying to a device makes
    the host wait, and a CUDA graph cannot contain it. Where a graph is traced the tensor is made
    anew and becomes a part of it: a trace's stand-ins must not be kept.
    """
    cached = lru_cache(maxsize=64)(function)

    @wraps(function)
    def call(*args: Any) -> torch.Tensor:
        import torch

        if torch.compiler.is_compiling():
            return function(*args)
        with torch.inference_mode(False):
            return cached(*args)

    return call


@kept
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The same few values [n] on a device."""
    import torch

    return torch.tensor(values, dtype=dtype, device=device)


def denormalize_points(points: Array, pc_range: Sequence[float]) -> Array:
    """Points [..., 3] in [0, 1] of the box ``pc_range`` (x0, y0, z0, x1, y1, z1) to metres."""
    low, extent = _range_bounds(points, pc_range)
    return points * extent + low


def normalize_points(points: Array, pc_range: Sequence[float]) -> Array:
    """Inverse of :func:`denormalize_points`; points outside the range leave [0, 1]."""
    low, extent = _range_bounds(points, pc_range)
    return (points - low) / extent


# --- boxes ----------------------------------------------------------------------------------------


def limit_angle(angle: Array, period: float = 2 * np.pi) -> Array:
    """Angles wrapped to [-period/2, period/2)."""
    return angle - _backend(angle).floor(angle / period + 0.5) * period


def rot_to_yaw(rot: Array) -> Array:
    """Legacy box angle to heading; its own inverse (see :func:`yaw_to_rot`); not wrapped."""
    return -rot - HALF_PI


def yaw_to_rot(yaw: Array) -> Array:
    """Heading to legacy box angle; not wrapped."""
    return -yaw - HALF_PI


def legacy_to_mm3d(boxes: Array) -> Array:
    """Legacy boxes [..., 7+] to mmdet3d >= 1.0 LiDAR boxes (bottom centre, l w h, yaw)."""
    out = _backend(boxes).empty_like(boxes)
    out[...] = boxes
    out[..., 2] = boxes[..., 2] - boxes[..., 5] / 2
    out[..., 3] = boxes[..., 4]
    out[..., 4] = boxes[..., 3]
    out[..., 6] = rot_to_yaw(boxes[..., 6])
    return out


# Corners of the unit box centred at the origin; x is the width, y the length axis (rot = 0).
_UNIT_CORNERS = (
    (-0.5, -0.5, -0.5),
    (-0.5, -0.5, 0.5),
    (-0.5, 0.5, 0.5),
    (-0.5, 0.5, -0.5),
    (0.5, -0.5, -0.5),
    (0.5, -0.5, 0.5),
    (0.5, 0.5, 0.5),
    (0.5, 0.5, -0.5),
)
# Pairs of corners that an edge joins, and the four corners of the face at the front of the box.
BOX_EDGES = (
    *((0, 1), (1, 2), (2, 3), (3, 0)),
    *((4, 5), (5, 6), (6, 7), (7, 4)),
    *((0, 4), (1, 5), (2, 6), (3, 7)),
)
FRONT_CORNERS = (0, 1, 5, 4)


def _rotate_xy(x: Array, y: Array, rot: Array) -> tuple[Array, Array]:
    """Plane vectors turned by the legacy angle, which is clockwise."""
    xp = _backend(x)
    cos, sin = xp.cos(rot), xp.sin(rot)
    return x * cos + y * sin, y * cos - x * sin


def box_corners(boxes: Array) -> Array:
    """Corners [..., 8, 3] of legacy boxes [..., 7+], in the boxes' frame.

    Order: x minor face first, each face (bottom, top, top, bottom); the edges are
    :data:`BOX_EDGES` and the face the object drives towards is :data:`FRONT_CORNERS`.
    """
    if isinstance(boxes, np.ndarray):
        unit = np.asarray(_UNIT_CORNERS, dtype=boxes.dtype)
    else:
        unit = boxes.new_tensor(_UNIT_CORNERS)
    local = unit * boxes[..., None, 3:6]
    x, y = _rotate_xy(local[..., 0], local[..., 1], boxes[..., None, 6])
    return _backend(boxes).stack([x, y, local[..., 2]], -1) + boxes[..., None, :3]


def rotate_boxes(boxes: Array, angle: Array | float) -> Array:
    """Legacy boxes [..., 7 or 9] turned clockwise by ``angle`` (rad) about the z axis."""
    out = _backend(boxes).empty_like(boxes)
    out[...] = boxes
    turn = _backend(boxes).zeros_like(boxes[..., 0]) + angle
    out[..., 0], out[..., 1] = _rotate_xy(boxes[..., 0], boxes[..., 1], turn)
    out[..., 6] = boxes[..., 6] + turn
    if boxes.shape[-1] >= 9:
        out[..., 7], out[..., 8] = _rotate_xy(boxes[..., 7], boxes[..., 8], turn)
    return out


def in_bev_range(boxes: Array, bev_range: Sequence[float]) -> Array:
    """Mask [...] of boxes whose centre lies strictly inside (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = bev_range
    x, y = boxes[..., 0], boxes[..., 1]
    return (x > x0) & (y > y0) & (x < x1) & (y < y1)


def legacy_boxes_to_global(
    boxes: np.ndarray, lidar2ego: np.ndarray, ego2global: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Legacy lidar boxes as nuScenes global boxes.

    Args:
        boxes: [n, 9].  lidar2ego, ego2global: [4, 4].

    Returns:
        centres [n, 3], sizes [n, 3] (w, l, h), quaternions [n, 4] and velocities [n, 3] (the
        vertical component that the rotation gives included), float64.
    """
    boxes = np.asarray(boxes)
    # In the boxes' precision, as the published results were computed.
    yaw = rot_to_yaw(boxes[:, 6]).astype(np.float64)
    boxes = boxes.astype(np.float64)
    velocity = np.concatenate([boxes[:, 7:9], np.zeros((len(boxes), 1))], axis=1)
    turn = quaternion_multiply(
        matrix_to_quaternion(ego2global[:3, :3]), matrix_to_quaternion(lidar2ego[:3, :3])
    )
    center = transform_points(transform_points(boxes[:, :3], lidar2ego), ego2global)
    velocity = rotate_vectors(rotate_vectors(velocity, lidar2ego), ego2global)
    return center, boxes[:, 3:6], quaternion_multiply(turn, quaternion_from_yaw(yaw)), velocity


# --- cameras --------------------------------------------------------------------------------------


def lidar2img_matrix(intrinsics: np.ndarray, lidar2cam: np.ndarray) -> np.ndarray:
    """Projection matrices [..., 4, 4] of intrinsics [..., 3, 3] and lidar-to-camera poses."""
    viewpad = np.zeros((*intrinsics.shape[:-2], 4, 4))
    viewpad[..., :3, :3] = intrinsics
    viewpad[..., 3, 3] = 1
    return viewpad @ lidar2cam


def project(points: Array, lidar2img: Array) -> tuple[Array, Array]:
    """Points [..., n, 3] to pixels.

    Args:
        lidar2img: [..., 4, 4].

    Returns:
        pixels [..., n, 2] and depths [..., n] (m along the optical axis); points with a depth up
        to :data:`MIN_DEPTH` lie behind the camera and their pixels mean nothing.
    """
    homogeneous = transform_points(points, lidar2img)
    depth = homogeneous[..., 2]
    return homogeneous[..., :2] / depth.clip(MIN_DEPTH)[..., None], depth
