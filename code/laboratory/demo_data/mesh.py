"""Triangle-free meshes: convex polygons, some of which bound convex solids.

An object is a few convex *solids* (what lidar rays hit, what hides things) plus flat *decals*
just outside of them (windows, lights, wheels). Object frame: x forward, y left, z up, origin at
the centre of the ground footprint, metres. Colours are BGR, 0..255.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MAX_CORNERS = 8
DECAL_OFFSET = 0.012  # m in front of the face it decorates

Colour = tuple[int, int, int]

# corner indices of a hexahedron's faces, counter-clockwise seen from outside
HEXAHEDRON_FACES = {
    "bottom": (0, 3, 2, 1),
    "top": (4, 5, 6, 7),
    "right": (0, 1, 5, 4),
    "front": (1, 2, 6, 5),
    "left": (2, 3, 7, 6),
    "back": (3, 0, 4, 7),
}


@dataclass
class Mesh:
    """F convex polygons.

    Attributes:
        corners: [F, 8, 3] m; polygons with fewer corners repeat their last one.
        normals: [F, 3] outward unit normals.
        colours: [F, 3] BGR.
        solid: [F] index of the convex solid the face bounds, -1 for decals.
        owner: [F] index of the object a face belongs to (set by :func:`merge`).
        facade: [F] True where windows are painted on (buildings).
    """

    corners: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    solid: np.ndarray
    owner: np.ndarray
    facade: np.ndarray

    def __len__(self) -> int:
        return len(self.corners)

    def placed(self, position: np.ndarray, yaw: float) -> Mesh:
        """The mesh turned by ``yaw`` about z, then moved to ``position`` [3]."""
        cos, sin = np.cos(yaw), np.sin(yaw)
        rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        return Mesh(
            self.corners @ rotation.T + position,
            self.normals @ rotation.T,
            self.colours,
            self.solid,
            self.owner,
            self.facade,
        )

    def select(self, keep: np.ndarray) -> Mesh:
        """The faces of a boolean or index array."""
        return Mesh(*(value[keep] for value in vars(self).values()))


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of many; ``owner`` becomes the position in ``meshes``, solids are renumbered."""
    solids, owners, offset = [], [], 0
    for index, mesh in enumerate(meshes):
        solids.append(np.where(mesh.solid >= 0, mesh.solid + offset, -1))
        owners.append(np.full(len(mesh), index))
        offset += int(mesh.solid.max(initial=-1)) + 1

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(mesh, name) for mesh in meshes])

    return Mesh(
        joined("corners"),
        joined("normals"),
        joined("colours"),
        np.concatenate(solids),
        np.concatenate(owners),
        joined("facade"),
    )


class MeshBuilder:
    """Collects solids and decals; :meth:`build` gives the :class:`Mesh`."""

    def __init__(self) -> None:
        self._polygons: list[np.ndarray] = []
        self._colours: list[Colour] = []
        self._solid: list[int] = []
        self._facade: list[bool] = []
        self._num_solids = 0
        self._hexahedron = np.zeros((8, 3))

    def _add(self, corners: np.ndarray, colour: Colour, solid: int, facade: bool = False) -> None:
        self._polygons.append(corners)
        self._colours.append(colour)
        self._solid.append(solid)
        self._facade.append(facade)

    def hexahedron(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: tuple[float, float],
        colour: Colour,
        taper: tuple[float, float, float] = (0.0, 0.0, 0.0),
        colours: Mapping[str, Colour] | None = None,
        facade: bool = False,
    ) -> MeshBuilder:
        """A box whose top is drawn in by ``taper`` = (back, front, each side) metres."""
        back, front, side = taper
        bottom = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
        top = [
            (x[0] + back, y[0] + side),
            (x[1] - front, y[0] + side),
            (x[1] - front, y[1] - side),
            (x[0] + back, y[1] - side),
        ]
        corners = np.array([(*p, z[0]) for p in bottom] + [(*p, z[1]) for p in top], float)
        for name, indices in HEXAHEDRON_FACES.items():
            painted = facade and name not in ("top", "bottom")
            face_colour = (colours or {}).get(name, colour)
            self._add(corners[list(indices)], face_colour, self._num_solids, painted)
        self._num_solids += 1
        self._hexahedron = corners
        return self

    def panel(
        self, face: str, u: tuple[float, float], v: tuple[float, float], colour: Colour
    ) -> MeshBuilder:
        """A decal on a face of the last hexahedron; u (back to front, or right to left) and
        v (upwards) are fractions of the face."""
        order = {
            "right": (0, 1, 5, 4),
            "left": (3, 2, 6, 7),
            "front": (1, 2, 6, 5),
            "back": (0, 3, 7, 4),
            "top": (0 + 4, 1 + 4, 2 + 4, 3 + 4),
        }[face]
        a, b, c, d = self._hexahedron[list(order)]
        outward = (a + b + c + d) / 4 - self._hexahedron.mean(0)

        def at(s: float, t: float) -> np.ndarray:
            return (1 - t) * ((1 - s) * a + s * b) + t * ((1 - s) * d + s * c)

        corners = np.stack([at(u[0], v[0]), at(u[1], v[0]), at(u[1], v[1]), at(u[0], v[1])])
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        if normal @ outward < 0:
            corners, normal = corners[::-1], -normal
        self._add(corners + DECAL_OFFSET * normal / np.linalg.norm(normal), colour, -1)
        return self

    def panels(
        self,
        face: str,
        count: int,
        u: tuple[float, float],
        v: tuple[float, float],
        colour: Colour,
        fill: float = 0.8,
    ) -> MeshBuilder:
        """``count`` equal panels in a row, each covering ``fill`` of its share of ``u``."""
        edges = np.linspace(u[0], u[1], count + 1)
        for left, right in itertools.pairwise(edges):
            gap = (1 - fill) * (right - left) / 2
            self.panel(face, (left + gap, right - gap), v, colour)
        return self

    def disc(self, x: float, y: float, z: float, radius: float, colour: Colour) -> MeshBuilder:
        """An upright octagon in the x-z plane, seen from the side of its y (a wheel)."""
        angle = np.arange(8) * np.pi / 4 + np.pi / 8
        corners = np.stack(
            [x + radius * np.cos(angle), np.full(8, y), z + radius * np.sin(angle)], -1
        )
        self._add(corners if y < 0 else corners[::-1], colour, -1)
        return self

    def wheels(
        self, xs: Sequence[float], half_width: float, radius: float, hub: Colour = (150, 150, 150)
    ) -> MeshBuilder:
        """A dark tyre and a light hub at every x on both sides."""
        for x in xs:
            for side in (-1, 1):
                self.disc(x, side * half_width, radius + 0.01, radius, (22, 22, 22))
                self.disc(x, side * (half_width + 0.01), radius + 0.01, 0.55 * radius, hub)
        return self

    def prism(
        self,
        centre: tuple[float, float],
        z: tuple[float, float],
        radius: tuple[float, float],
        colour: Colour,
        sides: int = 6,
        stretch: tuple[float, float] = (1.0, 1.0),
    ) -> MeshBuilder:
        """An upright prism or cone stump; ``radius`` at the bottom and at the top, ``stretch``
        along x and y."""
        angle = np.arange(sides) * 2 * np.pi / sides + np.pi / sides
        circle = np.stack([np.cos(angle) * stretch[0], np.sin(angle) * stretch[1]], -1)
        low = np.c_[circle * radius[0] + centre, np.full(sides, z[0])]
        high = np.c_[circle * radius[1] + centre, np.full(sides, z[1])]
        for i in range(sides):
            j = (i + 1) % sides
            self._add(np.stack([low[i], low[j], high[j], high[i]]), colour, self._num_solids)
        self._add(high, colour, self._num_solids)
        self._add(low[::-1], colour, self._num_solids)
        self._num_solids += 1
        return self

    def build(self) -> Mesh:
        """The mesh of everything added."""
        corners = np.stack(
            [p[np.minimum(np.arange(MAX_CORNERS), len(p) - 1)] for p in self._polygons]
        )
        following = np.roll(corners, -1, axis=1)
        normals = np.cross(corners, following).sum(1)  # twice the area vector (Newell)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        return Mesh(
            corners,
            normals,
            np.array(self._colours, np.float32),
            np.array(self._solid),
            np.zeros(len(corners), int),
            np.array(self._facade),
        )
