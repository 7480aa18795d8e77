"""Generalised IoU of boxes in space (Rezatofighi et al., CVPR 2019), over shapely's polygons.

The enclosing body is the prism over the convex hull of both footprints, as SimpleTrack has it.
"""

from __future__ import annotations

import numpy as np
import shapely

from pftrack.boxes import Boxes
from pftrack.geometry import yaw_from_quaternion


def footprints(boxes: Boxes) -> np.ndarray:
    """n polygons: the boxes from above, global x and y."""
    yaw = yaw_from_quaternion(boxes.rotation)
    along = np.stack([np.cos(yaw), np.sin(yaw)], -1) * boxes.size[:, 1:2] / 2
    across = np.stack([-np.sin(yaw), np.cos(yaw)], -1) * boxes.size[:, :1] / 2
    signs = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)])
    corners = boxes.center[:, None, :2] + (
        signs[:, 0, None] * along[:, None] + signs[:, 1, None] * across[:, None]
    )
    return shapely.polygons(corners)


def generalized_iou(first: Boxes, second: Boxes) -> np.ndarray:
    """[n, m] from -1 (far apart) to 1 (equal).

    Pairs that are further apart than three times both half diagonals are below -0.5 and get -1.
    """
    value = np.full((len(first), len(second)), -1.0)
    apart = np.linalg.norm(first.center[:, None, :2] - second.center[None, :, :2], axis=-1)
    reach = (np.linalg.norm(b.size[:, :2], axis=1) / 2 for b in (first, second))
    i, j = np.nonzero(apart < 3 * np.add.outer(*reach))
    if not len(i):
        return value
    a, b = footprints(first)[i], footprints(second)[j]
    inside = shapely.area(shapely.intersection(a, b))
    hull = shapely.area(shapely.convex_hull(shapely.union(a, b)))
    low, high = ([x.center[:, 2] + s * x.size[:, 2] / 2 for x in (first, second)] for s in (-1, 1))
    shared = np.minimum(high[0][i], high[1][j]) - np.maximum(low[0][i], low[1][j])
    height = np.maximum(high[0][i], high[1][j]) - np.minimum(low[0][i], low[1][j])
    common = inside * np.maximum(shared, 0)
    union = first.size.prod(axis=1)[i] + second.size.prod(axis=1)[j] - common
    enclosing = hull * height
    value[i, j] = common / union - (enclosing - union) / enclosing
    return value


def suppress(boxes: Boxes, limit: float) -> np.ndarray:
    """[n] mask of the boxes that no better one overlaps by an IoU from above over ``limit``."""
    polygons = footprints(boxes)
    tree = shapely.STRtree(polygons)
    i, j = tree.query(polygons, predicate="intersects")
    common = shapely.area(shapely.intersection(polygons[i], polygons[j]))
    area = shapely.area(polygons)
    over = common / (area[i] + area[j] - common) > limit
    rank = np.empty(len(boxes), int)
    rank[np.argsort(-boxes.scores, kind="stable")] = np.arange(len(boxes))
    worse: dict[int, list[int]] = {}
    for a, b in zip(i[over].tolist(), j[over].tolist(), strict=True):
        if rank[a] < rank[b]:
            worse.setdefault(a, []).append(b)
    keep = np.ones(len(boxes), bool)
    for a in np.argsort(rank).tolist():
        if keep[a]:
            keep[worse.get(a, [])] = False
    return keep
