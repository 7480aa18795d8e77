"""Camera images: sky, textured ground, shadows, then everything that stands on it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from laboratory.demo_data.mesh import Mesh
from laboratory.demo_data.rasterizer import (
    GUARD,
    NEAR,
    ONE,
    SHIFT,
    Buffers,
    clip_polygon,
    project,
    rasterize,
    view_planes,
)
from laboratory.demo_data.rig import Camera, yaw_matrix
from laboratory.demo_data.town import RESOLUTION

HAZE_DISTANCE = 160.0  # m over which contrast falls to 1/e on a clear day
FOG_CONTRAST = 0.1  # what is left of it at the visibility
SHADOW = 0.5  # brightness of the ground in the shade
FLOOR, WINDOW = 3.2, 2.6  # m between the storeys, and between the windows, of a house


@dataclass
class Light:
    """The weather of a scene.

    Attributes:
        sun: [3] unit vector to the sun.
        ambient, direct: brightness of a face turned away from / towards the sun.
        zenith, horizon: BGR colours of the sky.
        visibility: m at which fog leaves a tenth of the contrast; None: a clear day.
    """

    sun: np.ndarray
    ambient: float
    direct: float
    zenith: np.ndarray
    horizon: np.ndarray
    visibility: float | None = None

    @classmethod
    def random(cls, rng: np.random.Generator, visibility: float | None = None) -> Light:
        azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(35, 60))
        sun = np.array(
            [
                np.cos(elevation) * np.cos(azimuth),
                np.cos(elevation) * np.sin(azimuth),
                np.sin(elevation),
            ]
        )
        cloudy = rng.uniform(0, 1)
        zenith = (1 - cloudy) * np.array([205.0, 140, 80]) + cloudy * np.array([190.0, 175, 165])
        horizon = (1 - cloudy) * np.array([235.0, 220, 200]) + cloudy * np.array([222.0, 216, 210])
        if visibility is not None:
            zenith = horizon  # fog hides the sky
        return cls(sun, 0.55 + 0.1 * cloudy, 0.5 - 0.1 * cloudy, zenith, horizon, visibility)

    def shade(self, mesh: Mesh) -> np.ndarray:
        """[F, 3] face colours under this light, faces in the global frame."""
        bright = self.ambient + self.direct * np.maximum(mesh.normals @ self.sun, 0)
        bright += 0.06 * mesh.normals[:, 2]  # the sky lights what faces upwards
        return np.clip(mesh.colours * bright[:, None], 0, 255).astype(np.float32)

    @cached_property
    def haze_distance(self) -> float:
        """Metres over which contrast falls to 1/e."""
        if self.visibility is None:
            return HAZE_DISTANCE
        return self.visibility / float(-np.log(FOG_CONTRAST)) ** (2 / 3)

    def haze_share(self, distance: np.ndarray) -> np.ndarray:
        """How much of the horizon's colour covers something at a distance in metres."""
        relative = distance / np.float32(self.haze_distance)
        return 1 - np.exp(-relative * np.sqrt(relative))


class CameraView:
    """What stays the same for one camera over a scene: rays, sky, haze over the ground."""

    def __init__(self, camera: Camera, light: Light) -> None:
        self.camera = camera
        self.light = light

    @cached_property
    def rays(self) -> np.ndarray:
        """[h, w, 3] float32 rays in the camera frame, z = 1."""
        width, height = self.camera.size
        u, v = np.meshgrid(np.arange(width), np.arange(height))
        pixels = np.stack([u, v, np.ones_like(u)], -1)
        return (pixels @ np.linalg.inv(self.camera.intrinsic).T).astype(np.float32)

    @cached_property
    def _down(self) -> np.ndarray:
        """[h, w] how steeply each ray falls (ego frame, negative above the horizon)."""
        ray = self.rays @ self.camera.rotation.T.astype(np.float32)
        return -ray[..., 2] / np.linalg.norm(ray[..., :2], axis=-1)

    @cached_property
    def sky(self) -> np.ndarray:
        """[h, w, 3] uint8: the sky, also where the ground will be."""
        height = np.clip(-self._down[..., None] / 0.6, 0, 1) ** 0.7
        colour = (1 - height) * self.light.horizon + height * self.light.zenith
        return np.clip(colour, 0, 255).astype(np.uint8)

    @cached_property
    def ground_rows(self) -> int:
        """First image row that shows ground anywhere."""
        return int(np.argmax((self._down > 0.004).any(1)))

    @cached_property
    def haze(self) -> np.ndarray:
        """[rows, w] float32 share of sky mixed into the ground; 1 above the horizon."""
        down = self._down[self.ground_rows :]
        distance = self.camera.translation[2] / np.maximum(down, 1e-4)
        return np.where(down > 0.004, self.light.haze_share(distance), 1.0).astype(np.float32)

    @cached_property
    def bands(self) -> list[tuple[int, int, int]]:
        """(first row, end row, texture level): coarser levels towards the horizon."""
        height = self.camera.size[1]
        middle = self._down[:, self.camera.size[0] // 2]
        focal = self.camera.intrinsic[1, 1]
        distance = self.camera.translation[2] / np.maximum(middle, 1e-3)
        footprint = distance**2 / (focal * self.camera.translation[2])
        level = np.clip(np.log2(np.maximum(0.7 * footprint / RESOLUTION, 1)), 0, 4).astype(int)
        edges = [self.ground_rows]
        edges += [r for r in range(self.ground_rows + 1, height) if level[r] != level[r - 1]]
        edges.append(height)
        return [(a, b, int(level[a])) for a, b in itertools.pairwise(edges)]


@dataclass
class Picture:
    """A rendered image.

    Attributes:
        image: [h, w, 3] uint8 BGR.
        owner: [h, w] int32 object whose surface a pixel shows, -1 for scenery, ground and sky.
        covered: [objects] pixels each object would cover were it alone.
        visible: [objects] pixels of each object in the image.
    """

    image: np.ndarray
    owner: np.ndarray
    covered: np.ndarray
    visible: np.ndarray


def camera_pose(camera: Camera, ego: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [3, 3] and centre [3] of a camera in the global frame; ego = (x, y, yaw)."""
    turn = yaw_matrix(ego[2])
    return turn @ camera.rotation, turn @ camera.translation + (ego[0], ego[1], 0.0)


def render(
    view: CameraView,
    ego: np.ndarray,
    mesh: Mesh,
    num_objects: int,
    ground: list[np.ndarray],
    shadows: list[np.ndarray],
) -> Picture:
    """One camera image.

    Args:
        view: camera and light.
        ego: (x, y, yaw) of the car at the exposure.
        mesh: everything standing on the ground, global frame, colours shaded, ordered by owner,
            the ``num_objects`` annotated objects first.
        ground: texture levels of the town.
        shadows: convex polygons [k, 3] on the ground, global frame.
    """
    camera = view.camera
    rotation, centre = camera_pose(camera, ego)
    image = view.sky.copy()
    _draw_ground(image, view, rotation, centre, ground, shadows)

    corners = (mesh.corners - centre) @ rotation
    seen = Mesh(corners, mesh.normals @ rotation, mesh.colours, mesh.solid, mesh.owner, mesh.facade)
    buffers = rasterize(seen, camera, num_objects)
    _draw_faces(image, view, mesh, buffers, rotation, centre)
    cv2.GaussianBlur(image, (3, 3), 0.55, dst=image)  # a lens; also softens the polygon edges

    # index -1 (no face) reads the entry appended at the end
    owners = np.r_[np.where(mesh.owner < num_objects, mesh.owner, -1), -1].astype(np.int32)
    owner = owners[buffers.face]
    visible = np.bincount(owner[owner >= 0], minlength=num_objects)
    return Picture(image, owner, buffers.covered, visible)


def _draw_ground(
    image: np.ndarray,
    view: CameraView,
    rotation: np.ndarray,
    centre: np.ndarray,
    ground: list[np.ndarray],
    shadows: list[np.ndarray],
) -> None:
    """Warp the ground texture into the image by the homography of the plane z = 0."""
    camera, light = view.camera, view.light
    extrinsic = np.c_[rotation.T[:, :2], -rotation.T @ centre]  # (x, y, 1) on the ground -> camera
    first = view.ground_rows
    surface = np.empty_like(image[first:])
    for top, end, level in view.bands:
        texture = ground[level]
        step = RESOLUTION * 2**level
        half = 0.5 * step  # texel centres
        to_global = np.array([[step, 0, half], [0, -step, len(texture) * step - half], [0, 0, 1]])
        shift = np.array([[1, 0, 0], [0, 1, -top], [0, 0, 1.0]])
        homography = shift @ camera.intrinsic @ extrinsic @ to_global
        cv2.warpPerspective(
            texture,
            np.linalg.inv(homography),
            (camera.size[0], end - top),
            dst=surface[top - first : end - first],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(88, 122, 108),
        )
    bright = light.ambient + light.direct * light.sun[2] + 0.06
    dark = cv2.convertScaleAbs(surface, alpha=bright * SHADOW)
    surface = cv2.convertScaleAbs(surface, alpha=bright)
    shade = np.zeros(surface.shape[:2], np.uint8)
    guard = view_planes(camera, GUARD)
    for polygon in shadows:
        corners = (polygon - centre) @ rotation
        if (corners[:, 2] < NEAR).all():
            continue
        corners = clip_polygon(corners, guard)
        if len(corners) >= 3:
            pixels = project(corners, camera.intrinsic) - (0, first)
            cv2.fillConvexPoly(shade, np.round(pixels * ONE).astype(np.int32), (1,), shift=SHIFT)
    cv2.copyTo(dark, shade, surface)
    haze = view.haze
    image[first:] = cv2.blendLinear(surface, image[first:], 1 - haze, haze)


def _draw_faces(
    image: np.ndarray,
    view: CameraView,
    mesh: Mesh,
    buffers: Buffers,
    rotation: np.ndarray,
    centre: np.ndarray,
) -> None:
    """Colour the pixels that show a face, windows and haze included."""
    colours = np.append(mesh.colours, [[0, 0, 0]], axis=0).astype(np.uint8)
    surface = np.take(colours, buffers.face, axis=0, mode="wrap")
    hit = (buffers.face >= 0).view(np.uint8)
    distance = 1 / np.maximum(buffers.inverse_depth, np.float32(1e-3))
    _paint_windows(surface, mesh, buffers.face, view.rays, distance, rotation, centre)
    haze = view.light.haze_share(distance)
    horizon = np.empty_like(surface)
    horizon[:] = view.light.horizon.astype(np.uint8)
    cv2.copyTo(cv2.blendLinear(surface, horizon, 1 - haze, haze), hit, image)


def _paint_windows(
    surface: np.ndarray,
    mesh: Mesh,
    face: np.ndarray,
    rays: np.ndarray,
    distance: np.ndarray,
    rotation: np.ndarray,
    centre: np.ndarray,
) -> None:
    """Darken the pixels of house walls where a window is: a pattern of their global position."""
    # 0: no wall, 1: wall along x, 2: wall along y
    kind = np.where(np.abs(mesh.normals[:, 0]) > 0.5, 2, 1) * mesh.facade
    kind = np.append(kind, 0).astype(np.uint8)[face]
    wall = np.flatnonzero(kind)
    if len(wall) == 0:
        return
    depth = distance.reshape(-1)[wall]
    ray = rays.reshape(-1, 3)[wall]
    turn, eye = rotation.astype(np.float32), centre.astype(np.float32)
    axis = kind.reshape(-1)[wall] - 1
    along = np.where(axis == 0, ray @ turn[0], ray @ turn[1]) * depth + eye[axis]
    height = (ray @ turn[2]) * depth + eye[2]
    across, up = along / np.float32(WINDOW), height / np.float32(FLOOR)
    across -= np.floor(across)
    up -= np.floor(up)
    window = wall[(np.abs(across - 0.5) < 0.27) & (np.abs(up - 0.52) < 0.24)]
    pixels = surface.reshape(-1, 3)
    pixels[window] = pixels[window] * np.float32(0.42)
