"""A spinning lidar: rays against the ground and the convex solids of the meshes."""

from __future__ import annotations

import numpy as np

from laboratory.demo_data.mesh import Mesh

BEAMS = 32
COLUMNS = 720
ELEVATION = (-30.67, 10.67)  # deg, lowest and highest beam
MIN_RANGE, MAX_RANGE = 2.0, 75.0  # m, on a clear day


def ray_grid() -> tuple[np.ndarray, np.ndarray]:
    """Azimuths [COLUMNS] in [-pi, pi) and elevations [BEAMS], rad, lidar frame."""
    azimuth = -np.pi + 2 * np.pi * np.arange(COLUMNS) / COLUMNS
    return azimuth, np.deg2rad(np.linspace(*ELEVATION, BEAMS))


def scan(
    mesh: Mesh,
    rotation: np.ndarray,
    centre: np.ndarray,
    rng: np.random.Generator,
    max_range: float = MAX_RANGE,
) -> np.ndarray:
    """One sweep.

    Args:
        mesh: solids in the global frame.
        rotation, centre: lidar pose in the global frame, [3, 3] and [3].
        rng: roughness of the ground (points lie up to 2 cm below z = 0) and reflectance.
        max_range: metres; no return from further away.

    Returns:
        [n, 5] float32: x, y, z in the lidar frame, intensity 0..255, beam index.
    """
    azimuth, elevation = ray_grid()
    direction = np.stack(
        [
            np.cos(elevation)[:, None] * np.cos(azimuth),
            np.cos(elevation)[:, None] * np.sin(azimuth),
            np.broadcast_to(np.sin(elevation)[:, None], (BEAMS, COLUMNS)),
        ],
        -1,
    )
    falling = np.minimum(direction @ rotation[2], -1e-9)
    depth = rng.uniform(0.004, 0.02, falling.shape)
    distance = -(centre[2] + depth) / falling
    intensity = rng.uniform(4, 18, falling.shape)

    keep = mesh.solid >= 0
    corners = (mesh.corners[keep] - centre) @ rotation
    normals = mesh.normals[keep] @ rotation
    colours = mesh.colours[keep].mean(1)
    solid = mesh.solid[keep]
    starts = np.flatnonzero(np.r_[True, np.diff(solid) != 0])
    for begin, end in zip(starts, np.r_[starts[1:], len(solid)], strict=True):
        window = _window(corners[begin:end].reshape(-1, 3), elevation, max_range)
        if window is None:
            continue
        offsets = np.einsum("fi,fi->f", normals[begin:end], corners[begin:end, 0])
        entry, face = _enter(direction[window], normals[begin:end], offsets)
        nearer = entry < distance[window]
        distance[window] = np.where(nearer, entry, distance[window])
        bright = 0.4 * colours[begin:end]
        intensity[window] = np.where(nearer, bright[face], intensity[window])
    hit = (distance > MIN_RANGE) & (distance < max_range)
    beam = np.broadcast_to(np.arange(BEAMS)[:, None], hit.shape)
    points = direction[hit] * distance[hit][:, None]
    return np.c_[points, intensity[hit], beam[hit]].astype(np.float32)


def _window(points: np.ndarray, elevation: np.ndarray, max_range: float) -> tuple | None:
    """Index of the rays [BEAMS, COLUMNS] that can hit the hull of points [n, 3]; None: no ray."""
    planar = np.hypot(points[:, 0], points[:, 1])
    middle = points[:, :2].mean(0)
    towards = np.arctan2(middle[1], middle[0])
    offset = np.arctan2(points[:, 1], points[:, 0]) - towards
    offset = np.mod(offset + np.pi, 2 * np.pi) - np.pi
    span = np.ptp(offset)
    if span > 0.9 * np.pi:  # around the sensor, or nearly
        return slice(None), slice(None)
    nearest = planar.min() * np.cos(span / 2)  # of the hull, at least
    if nearest > max_range:
        return None
    steepest = np.arctan2([points[:, 2].min(), points[:, 2].max()], nearest)
    flattest = np.arctan2([points[:, 2].min(), points[:, 2].max()], planar.max())
    low = np.searchsorted(elevation, min(steepest[0], flattest[0]) - 1e-6)
    high = np.searchsorted(elevation, max(steepest[1], flattest[1]) + 1e-6)
    step = 2 * np.pi / COLUMNS
    first = int(np.ceil((towards + offset.min() + np.pi) / step))
    last = int(np.floor((towards + offset.max() + np.pi) / step))
    if low >= high or first > last:
        return None
    if first >= 0 and last < COLUMNS:
        return slice(low, high), slice(first, last + 1)
    rows, columns = np.arange(low, high), np.arange(first, last + 1) % COLUMNS
    return np.ix_(rows, columns)


def _enter(
    rays: np.ndarray, normals: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where rays [..., 3] from the origin enter the solid {x: normals.x <= offsets}.

    Returns the distance (inf for a miss) and the index of the face entered.
    """
    slope = rays @ normals.T
    with np.errstate(divide="ignore", invalid="ignore"):
        t = offsets / slope
    entering = np.where(slope < 0, t, -np.inf)
    leaving = np.where(slope > 0, t, np.inf)
    outside = ((slope == 0) & (offsets < 0)).any(-1)
    face = entering.argmax(-1)
    entry = np.take_along_axis(entering, face[..., None], -1)[..., 0]
    missed = outside | (entry > leaving.min(-1)) | (entry <= 0)
    return np.where(missed, np.inf, entry), face


def count_points(
    points: np.ndarray, centres: np.ndarray, sizes: np.ndarray, rotations: np.ndarray
) -> np.ndarray:
    """[n] points inside each box, rims included (nuscenes.utils.geometry_utils.points_in_box).

    Args:
        points: [p, 3] global frame.
        centres: [n, 3].  sizes: [n, 3] width, length, height.  rotations: [n, 3, 3] box to global.
    """
    counts = np.zeros(len(centres), int)
    # most points are on the ground below every box
    points = points[points[:, 2] >= (centres[:, 2] - sizes[:, 2] / 2).min(initial=np.inf)]
    for i, (centre, (w, l, h), rotation) in enumerate(  # noqa: E741
        zip(centres, sizes, rotations, strict=True)
    ):
        near = points[np.abs(points[:, :2] - centre[:2]).max(1) < np.hypot(w, l)]
        inside = np.abs((near - centre) @ rotation) <= np.array([l, w, h]) / 2
        counts[i] = np.count_nonzero(inside.all(1))
    return counts
