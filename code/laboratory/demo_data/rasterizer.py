"""Fills convex polygons into a depth buffer.

The inverse depth of a plane is linear in the pixel coordinates: for a plane n.X = d in the camera
frame, 1/z = n.(K^-1 [u, v, 1]) / d. So a face needs no interpolation over its corners, only the
pixels it covers (OpenCV's polygon fill, sixteenths of a pixel).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from laboratory.demo_data.mesh import Mesh
from laboratory.demo_data.rig import Camera

NEAR = 0.25  # m
SHIFT = 4  # fractional bits of polygon corners
ONE = np.int32(1 << SHIFT)
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
        distance = corners @ plane[:3] + plane[3]
        if (distance >= 0).all():
            continue
        kept = []
        for i in range(len(corners)):
            a, b, da, db = corners[i - 1], corners[i], distance[i - 1], distance[i]
            if (da >= 0) != (db >= 0):
                kept.append(a + (b - a) * (da / (da - db)))
            if db >= 0:
                kept.append(b)
        if not kept:
            return np.empty((0, 3))
        corners = np.array(kept)
    return corners


def view_planes(camera: Camera, widen: float) -> np.ndarray:
    """[5, 4] the near plane and the four sides of the view, each ``widen`` image sizes out."""
    width, height = camera.size
    fx, fy = camera.intrinsic[0, 0], camera.intrinsic[1, 1]
    cx, cy = camera.intrinsic[0, 2], camera.intrinsic[1, 2]
    left, right = (-widen * width - cx) / fx, ((1 + widen) * width - cx) / fx
    top, bottom = (-widen * height - cy) / fy, ((1 + widen) * height - cy) / fy
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
    facing = np.flatnonzero(distance < -1e-6)
    outside = _outside(mesh.corners[facing], view_planes(camera, 0.01))
    visible = facing[~np.any(np.all(outside, axis=1), axis=1)]
    outlines = _outlines(mesh.corners[visible], camera)
    owners = mesh.owner[visible].tolist()
    planes = planes[visible].astype(np.float32)

    columns = np.arange(width, dtype=np.float32)
    rows = np.arange(height, dtype=np.float32)
    scratch = np.zeros((height, width), np.uint8)
    for index, outline, owner, (a, b, c) in zip(visible, outlines, owners, planes, strict=True):
        if outline is None:
            continue
        left, top, right, bottom = outline.window
        window = (slice(top, bottom), slice(left, right))
        filled = scratch[: bottom - top, : right - left]
        filled.fill(0)
        origin = np.array([left, top], np.int32) * ONE
        cv2.fillConvexPoly(filled, outline.corners - origin, (1,), shift=SHIFT)
        mask = filled.view(bool)
        depth = (a * columns[left:right])[None] + (b * rows[top:bottom] + c)[:, None]
        # pixels on the rim lie outside of the face: keep the plane from running away there
        np.clip(depth, *outline.inverse_depth, out=depth)
        if owner < num_objects:
            seen = stamp[window]
            fresh = mask & (seen != owner)
            covered[owner] += np.count_nonzero(fresh)
            np.copyto(seen, owner, where=fresh)
        nearer = depth > inverse_depth[window]
        nearer &= mask
        np.copyto(inverse_depth[window], depth, where=nearer)
        np.copyto(face_index[window], index, where=nearer)
    return Buffers(inverse_depth, face_index, covered)


def _outside(corners: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """[F, k, p] whether corners [F, k, 3] lie on the far side of planes [p, 4]."""
    return corners @ planes[:, :3].T < -planes[:, 3]


@dataclass
class Outline:
    """A face in the image.

    Attributes:
        corners: [k, 2] int32 sixteenths of a pixel.
        window: left, top, right, bottom (exclusive) pixels it can touch.
        inverse_depth: smallest and largest over the corners.
    """

    corners: np.ndarray
    window: tuple[int, int, int, int]
    inverse_depth: tuple[float, float]


def _outlines(corners: np.ndarray, camera: Camera) -> list[Outline | None]:
    """Outlines of faces [F, k, 3] in the camera frame; None where nothing is in the image."""
    guard = view_planes(camera, GUARD)
    crossing = np.any(_outside(corners, guard), axis=(1, 2))
    safe = np.where(crossing[:, None, None], 1.0, corners)  # placeholders, clipped below
    outlines = _fixed_point(safe, camera)
    for i in np.flatnonzero(crossing):
        polygon = clip_polygon(corners[i], guard)
        outlines[i] = _fixed_point(polygon[None], camera)[0] if len(polygon) >= 3 else None
    return outlines


def _fixed_point(corners: np.ndarray, camera: Camera) -> list[Outline | None]:
    """Outlines of faces [F, k, 3] that need no clipping."""
    pixels = project(corners, camera.intrinsic)
    fixed = np.round(pixels * ONE).astype(np.int32)
    low = np.maximum(np.floor(pixels.min(1)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(pixels.max(1)).astype(int) + 2, camera.size)
    inverse = 1 / corners[..., 2]
    windows = np.c_[low, high].tolist()
    ranges = np.c_[inverse.min(1), inverse.max(1)].tolist()
    return [
        Outline(f, (w[0], w[1], w[2], w[3]), (r[0], r[1])) if w[0] < w[2] and w[1] < w[3] else None
        for f, w, r in zip(fixed, windows, ranges, strict=True)
    ]
