"""The town every scene drives through: a street grid, its ground texture, houses and trees.

Global frame: x east, y north, metres, the ground is z = 0. Traffic keeps right. From the centre
line outwards a street has a lane, a parking lane and a sidewalk on each side.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from laboratory.demo_data.mesh import Colour, Mesh, MeshBuilder, merge

NODES = 6  # crossings per side
SPACING = 70.0
BORDER = 60.0
EXTENT = 2 * BORDER + (NODES - 1) * SPACING
LANE_WIDTH = 3.5
LANE_CENTRE = LANE_WIDTH / 2
PARKING_CENTRE = 4.75
ROAD_HALF = 6.0
SIDEWALK_HALF = 9.0
CROSSWALK = 8.0  # m from the centre of a crossing
STOP_LINE = 11.0
TURN_ENTRY = 9.0  # m before the crossing where a turn begins
RESOLUTION = 0.1  # m per pixel of the ground texture and the map mask
PATH_STEP = 0.25

Span = tuple[float, float]

HOUSE_COLOURS: list[Colour] = [
    (150, 165, 185), (120, 140, 180), (165, 170, 172), (140, 150, 160), (110, 125, 150),
    (175, 185, 195), (130, 135, 140),
]  # fmt: skip


@dataclass
class Path:
    """A curve on the ground, sampled every :data:`PATH_STEP` metres.

    Attributes:
        points: [n, 2] m.  heading: [n] rad, without jumps.
    """

    points: np.ndarray
    heading: np.ndarray

    @property
    def length(self) -> float:
        return PATH_STEP * (len(self.points) - 1)

    def at(self, s: np.ndarray, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Position [..., 2] and heading [...] ``s`` metres along, ``offset`` to the right."""
        knots = np.arange(len(self.points)) * PATH_STEP
        heading = np.interp(s, knots, self.heading)
        position = np.stack([np.interp(s, knots, self.points[:, i]) for i in range(2)], -1)
        right = np.stack([np.sin(heading), -np.cos(heading)], -1)
        return position + offset * right, heading

    def curvature(self) -> np.ndarray:
        """[n] 1/m, absolute."""
        return np.abs(np.gradient(self.heading, PATH_STEP))


def resample(points: np.ndarray) -> Path:
    """A :class:`Path` through points [n, 2] that lie close together."""
    distance = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    s = np.arange(0.0, distance[-1], PATH_STEP)
    even = np.stack([np.interp(s, distance, points[:, i]) for i in range(2)], -1)
    tangent = np.gradient(even, axis=0)
    return Path(even, np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0])))


def node_position(node: tuple[int, int]) -> np.ndarray:
    """[2] centre of a crossing."""
    return BORDER + SPACING * np.asarray(node, float)


def inside(node: tuple[int, int]) -> bool:
    return 0 <= node[0] < NODES and 0 <= node[1] < NODES


def right_of(direction: np.ndarray) -> np.ndarray:
    return np.array([direction[1], -direction[0]])


def random_route(
    rng: np.random.Generator,
    node: tuple[int, int],
    direction: tuple[int, int],
    length: float,
    turn_share: float = 0.6,
) -> Path:
    """A drive in the lane centres from ``node`` towards ``direction``, turning at random.

    Args:
        node: the crossing the drive starts at, in grid indices.
        direction: (1, 0), (-1, 0), (0, 1) or (0, -1).
        length: at least so many metres.
        turn_share: how often a crossing is left by another street.
    """
    heading = np.array(direction)
    points = [node_position(node) + heading * TURN_ENTRY + right_of(heading) * LANE_CENTRE]
    travelled = 0.0
    while travelled < length:
        node = (node[0] + int(heading[0]), node[1] + int(heading[1]))
        centre = node_position(node)
        entry = centre - heading * TURN_ENTRY + right_of(heading) * LANE_CENTRE
        points.append(entry)
        choices = [heading, right_of(heading), -right_of(heading)]
        weights = np.array([1 - turn_share, turn_share / 2, turn_share / 2])
        weights *= [inside((node[0] + int(c[0]), node[1] + int(c[1]))) for c in choices]
        turn = rng.choice(3, p=weights / weights.sum())
        new = choices[turn].astype(int)
        leave = centre + new * TURN_ENTRY + right_of(new) * LANE_CENTRE
        if turn:
            radius = TURN_ENTRY + (-LANE_CENTRE if turn == 1 else LANE_CENTRE)
            pivot = entry + radius * new
            angle = np.linspace(0, np.pi / 2, 40)[:, None]
            points.extend(pivot - radius * new * np.cos(angle) + radius * heading * np.sin(angle))
        points.append(leave)
        heading = new
        travelled += SPACING
    return resample(_subdivide(np.array(points)))


def _subdivide(points: np.ndarray) -> np.ndarray:
    """Adds points to long straight pieces, so that headings change only in the curves."""
    pieces = [points[:1]]
    for a, b in itertools.pairwise(points):
        count = max(int(np.linalg.norm(b - a) / PATH_STEP), 1)
        pieces.append(a + (b - a) * (np.arange(1, count + 1) / count)[:, None])
    return np.concatenate(pieces)


class Town:
    """Streets, houses and trees drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @cached_property
    def scenery(self) -> Mesh:
        """Houses and trees in the global frame; every one is an owner."""
        rng = np.random.default_rng([self.seed, 1])
        meshes = []
        for i in range(-1, NODES):
            for j in range(-1, NODES):
                meshes.extend(self._block(rng, i, j))
        meshes.extend(self._street_trees(rng))
        return merge(meshes)

    def _block(self, rng: np.random.Generator, i: int, j: int) -> list[Mesh]:
        """Houses in a ring of 3 x 3 plots of the block north-east of crossing (i, j)."""
        low = np.maximum(node_position((i, j)) + SIDEWALK_HALF, 2.0)
        high = np.minimum(node_position((i + 1, j + 1)) - SIDEWALK_HALF, EXTENT - 2.0)
        plot = (high - low) / 3
        meshes = []
        for a, b in np.ndindex(3, 3):
            if (a, b) == (1, 1):
                continue
            corner = low + plot * (a, b)
            if rng.random() < 0.15:
                meshes.append(_tree(rng, corner + plot / 2, 1.6))
                continue
            inset = rng.uniform(0.8, 3.0, 4)
            colour = HOUSE_COLOURS[rng.integers(len(HOUSE_COLOURS))]
            house = MeshBuilder().hexahedron(
                (corner[0] + inset[0], corner[0] + plot[0] - inset[1]),
                (corner[1] + inset[2], corner[1] + plot[1] - inset[3]),
                (0.0, float(rng.integers(2, 7)) * 3.2 + 0.8),
                colour,
                facade=True,
            )
            meshes.append(house.build())
        return meshes

    def _street_trees(self, rng: np.random.Generator) -> list[Mesh]:
        meshes = []
        for axis in (0, 1):
            for line in range(NODES):
                for start in range(NODES - 1):
                    for along in np.arange(16.0, SPACING - 14.0, 13.0):
                        for side in (-1, 1):
                            if rng.random() < 0.55:
                                continue
                            point = np.empty(2)
                            point[axis] = BORDER + start * SPACING + along + rng.uniform(-2, 2)
                            point[1 - axis] = BORDER + line * SPACING + side * 8.6
                            meshes.append(_tree(rng, point, 1.0))
        return meshes

    @cached_property
    def map_mask(self) -> np.ndarray:
        """[h, w] uint8: 255 on streets and sidewalks, row 0 in the north (devkit MapMask)."""
        return np.where(self._layout() > 0, 255, 0).astype(np.uint8)

    def _layout(self) -> np.ndarray:
        """[h, w] uint8: 0 plots, 1 sidewalk, 2 street."""
        size = round(EXTENT / RESOLUTION)
        layout = np.zeros((size, size), np.uint8)
        low, high = BORDER - SIDEWALK_HALF, EXTENT - BORDER + SIDEWALK_HALF
        for value, half in ((1, SIDEWALK_HALF), (2, ROAD_HALF)):
            for line in range(NODES):
                centre = BORDER + line * SPACING
                a, b = round((centre - half) / RESOLUTION), round((centre + half) / RESOLUTION)
                c = round((low + (SIDEWALK_HALF - half)) / RESOLUTION)
                d = round((high - (SIDEWALK_HALF - half)) / RESOLUTION)
                for region in (layout[a:b, c:d], layout[c:d, a:b]):
                    np.maximum(region, value, out=region)
        return layout[::-1].copy()

    @cached_property
    def ground(self) -> list[np.ndarray]:
        """BGR ground texture, row 0 in the north, and its halves: [h, w, 3], [h/2, w/2, 3], ..."""
        layout = self._layout()
        palette = np.array([(88, 122, 108), (150, 156, 160), (84, 82, 80)], np.uint8)
        image = palette[layout]
        rng = np.random.default_rng([self.seed, 2])
        coarse = cv2.resize(rng.normal(0, 6, (64, 64)).astype(np.float32), (512, 512))
        tile = coarse + rng.normal(0, 3, (512, 512)).astype(np.float32)
        image = _markings(image)
        for top in range(0, len(image), 512):
            for left in range(0, len(image), 512):
                part = image[top : top + 512, left : left + 512]
                noise = tile[: part.shape[0], : part.shape[1], None]
                part[:] = np.clip(part + noise, 0, 255)
        levels = [image]
        for _ in range(4):
            levels.append(cv2.pyrDown(levels[-1]))
        return levels


def _markings(image: np.ndarray) -> np.ndarray:
    """Centre lines, parking lanes, crosswalks, stop lines and sidewalk slabs, painted in place."""
    white, yellow, slab = (225, 225, 225), (70, 190, 225), (132, 138, 142)

    def fill(axis: int, along: Span, across: Span, colour: Colour) -> None:
        a, b = (round(v / RESOLUTION) for v in along)
        c, d = (round(v / RESOLUTION) for v in across)
        rows, columns = ((c, d), (a, b)) if axis == 0 else ((a, b), (c, d))
        size = len(image)
        image[size - rows[1] : size - rows[0], columns[0] : columns[1]] = colour

    for axis in (0, 1):
        for line in range(NODES):
            centre = BORDER + line * SPACING
            for start in range(NODES - 1):
                origin = BORDER + start * SPACING
                first, last = origin + STOP_LINE, origin + SPACING - STOP_LINE
                for s in np.arange(origin + SIDEWALK_HALF, origin + SPACING - SIDEWALK_HALF, 1.5):
                    for side in (-1, 1):
                        edge = sorted((centre + side * ROAD_HALF, centre + side * SIDEWALK_HALF))
                        fill(axis, (s, s + 0.1), (edge[0], edge[1]), slab)
                fill(axis, (first, last), (centre - 0.2, centre - 0.1), yellow)
                fill(axis, (first, last), (centre + 0.1, centre + 0.2), yellow)
                for side in (-1, 1):
                    for s in np.arange(first + 3, last - 3, 2.0):
                        lane = centre + side * LANE_WIDTH
                        fill(axis, (s, s + 1.0), (lane - 0.06, lane + 0.06), white)
                    curb = centre + side * ROAD_HALF
                    block = (origin + ROAD_HALF, origin + SPACING - ROAD_HALF)
                    fill(axis, block, (curb - 0.1, curb + 0.1), (185, 190, 192))
                for end, inward in ((origin, 1), (origin + SPACING, -1)):
                    walk = sorted(
                        (end + inward * (CROSSWALK - 1.5), end + inward * (CROSSWALK + 1.5))
                    )
                    for q in np.arange(-ROAD_HALF + 0.4, ROAD_HALF - 0.4, 1.1):
                        fill(axis, (walk[0], walk[1]), (centre + q, centre + q + 0.55), white)
                    bar = sorted((end + inward * STOP_LINE, end + inward * (STOP_LINE - 0.4)))
                    # the lane that arrives here: right of its driving direction (-inward)
                    side = inward if axis == 0 else -inward
                    across = sorted((centre, centre + side * LANE_WIDTH))
                    fill(axis, (bar[0], bar[1]), (across[0], across[1]), white)
    return image


def _tree(rng: np.random.Generator, point: np.ndarray, scale: float) -> Mesh:
    height = rng.uniform(4.5, 6.5) * scale
    green: Colour = (
        int(rng.integers(40, 60)),
        int(rng.integers(95, 130)),
        int(rng.integers(55, 80)),
    )
    radius = rng.uniform(1.3, 1.9) * scale
    x, y = float(point[0]), float(point[1])
    builder = MeshBuilder()
    builder.hexahedron(
        (x - 0.13, x + 0.13), (y - 0.13, y + 0.13), (0.0, 0.5 * height), (50, 65, 85)
    )
    builder.prism((x, y), (0.42 * height, 0.65 * height), (0.5 * radius, radius), green, 7)
    return builder.prism((x, y), (0.65 * height, height), (radius, 0.35 * radius), green, 7).build()
