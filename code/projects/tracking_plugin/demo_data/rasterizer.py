"""Fills convex polygons into a depth buffer.

The inverse depth of a plane is linear in the pixel coordinates: for a plane n.X = d in the camera
frame, 1/z = n.(K^-1 [u, v, 1]) / d. So a face needs no interpolation over its corners, only the
pixels it covers (OpenCV's polygon fill, sixteenths of a pixel).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from projects.tracking_plugin.demo_data.mesh import Mesh
from projects.tracking_plugin.demo_data.rig import Camera

NEAR = 0.25  # m
SHIFT = 4  # fractional bits of polygon corners
GUARD = 2.0  # polygons reaching this many image sizes beyond the image are clipped first


@dataclass
class Buffers:
    """What a camera sees.

    Attributes:
        inverse_depth: [h, w] float32 1/m, 0 where there is no face.
        face: [h, w] int32 index into the mesh, -1 where there is none.
        covered: [owners] pixels each of the first ``owners`` objects would cover alone.
    """

    inverse_depth: np.ndarray
    face: np.ndarray
    covered: np.ndarray


def clip_polygon(corners: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Sutherland-Hodgman: the part of a polygon [k, 3] with planes [p, 4].(x, 1) >= 0."""
    for plane in planes:
        if len(corners) == 0:
            break
        distance = corners @ plane[:3] + plane[3]
        following, next_distance = np.roll(corners, -1, 0), np.roll(distance, -1)
        kept = []
        for a, b, da, db in zip(corners, following, distance, next_distance, strict=True):
            if da >= 0:
                kept.append(a)
            if (da >= 0) != (db >= 0):
                kept.append(a + (b - a) * (da / (da - db)))
        corners = np.array(kept).reshape(-1, 3)
    return corners


def guard_planes(camera: Camera) -> np.ndarray:
    """[5, 4] near plane and the four sides of the view, widened by :data:`GUARD`."""
    width, height = camera.size
    fx, fy = camera.intrinsic[0, 0], camera.intrinsic[1, 1]
    cx, cy = camera.intrinsic[0, 2], camera.intrinsic[1, 2]
    left, right = (-GUARD * width - cx) / fx, ((1 + GUARD) * width - cx) / fx
    top, bottom = (-GUARD * height - cy) / fy, ((1 + GUARD) * height - cy) / fy
    return np.array(
        [[0, 0, 1, -NEAR], [1, 0, -left, 0], [-1, 0, right, 0], [0, 1, -top, 0], [0, -1, bottom, 0]]
    )


def project(points: np.ndarray, intrinsic: np.ndarray) -> np.ndarray:
    """Pixels [..., 2] of points [..., 3] in the camera frame, z > 0."""
    image = points @ intrinsic.T
    return image[..., :2] / image[..., 2:]


def rasterize(mesh: Mesh, camera: Camera, num_objects: int) -> Buffers:
    """Draw a mesh given in the camera frame.

    Args:
        mesh: faces ordered by owner.
        camera: its intrinsics and size are used.
        num_objects: owners below this get their ``covered`` pixels counted.
    """
    width, height = camera.size
    inverse_depth = np.zeros((height, width), np.float32)
    face_index = np.full((height, width), -1, np.int32)
    stamp = np.full((height, width), -1, np.int32)
    covered = np.zeros(num_objects, int)

    distance = np.einsum("fi,fi->f", mesh.normals, mesh.corners[:, 0])
    planes = mesh.normals @ np.linalg.inv(camera.intrinsic) / np.minimum(distance, -1e-9)[:, None]
    guard = guard_planes(camera)
    side = np.einsum("fki,pi->fkp", mesh.corners, guard[:, :3]) + guard[:, 3]
    visible = (distance < -1e-6) & (side >= 0).any(1).all(1)
    needs_clip = (side < 0).any((1, 2))

    columns = np.arange(width, dtype=np.float32)
    rows = np.arange(height, dtype=np.float32)
    scratch = np.zeros((height, width), np.uint8)
    for index in np.flatnonzero(visible):
        corners = mesh.corners[index]
        if needs_clip[index]:
            corners = clip_polygon(corners, guard)
            if len(corners) < 3:
                continue
        pixels = project(corners, camera.intrinsic)
        low = np.maximum(np.floor(pixels.min(0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(pixels.max(0)).astype(int) + 2, (width, height))
        if (low >= high).any():
            continue
        window = (slice(low[1], high[1]), slice(low[0], high[0]))
        filled = scratch[: high[1] - low[1], : high[0] - low[0]]
        filled.fill(0)
        cv2.fillConvexPoly(
            filled, np.round((pixels - low) * (1 << SHIFT)).astype(np.int32), 1, shift=SHIFT
        )
        mask = filled.view(bool)
        a, b, c = planes[index].astype(np.float32)
        depth = (a * columns[window[1]])[None] + (b * rows[window[0]] + c)[:, None]
        # pixels on the rim lie outside of the face: keep the plane from running away there
        inverse = 1.0 / corners[:, 2]
        np.clip(depth, inverse.min(), inverse.max(), out=depth)
        owner = mesh.owner[index]
        if owner < num_objects:
            seen = stamp[window]
            fresh = mask & (seen != owner)
            covered[owner] += np.count_nonzero(fresh)
            np.copyto(seen, owner, where=fresh)
        nearer = mask & (depth > inverse_depth[window])
        np.copyto(inverse_depth[window], depth, where=nearer)
        np.copyto(face_index[window], index, where=nearer)
    return Buffers(inverse_depth, face_index, covered)
