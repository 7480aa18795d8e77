"""One scene: its plan, and the sensor files of one key frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from laboratory.demo_data.driving import EgoDrive, plan_ego
from laboratory.demo_data.lidar import MAX_RANGE, count_points, scan
from laboratory.demo_data.mesh import Mesh, merge
from laboratory.demo_data.renderer import CameraView, Light, render
from laboratory.demo_data.rig import (
    CAMERA_NAMES,
    Camera,
    Lidar,
    build_cameras,
    build_lidar,
    yaw_matrix,
)
from laboratory.demo_data.shapes import Signals, build_body
from laboratory.demo_data.signals import signals_at
from laboratory.demo_data.town import Town
from laboratory.demo_data.traffic import (
    ANNOTATED_RANGE,
    Agent,
    plan_traffic,
)
from pftrack.nuscenes.facts import KEY_FRAME_SECONDS, LIDAR

FIRST_TIMESTAMP = 1_532_400_000_000_000  # us; scenes are a quarter of an hour apart
SCENE_DISTANCE = 900_000_000  # us
DRAWN_RANGE = 80.0  # m for objects
SCENERY_RANGE = 110.0  # m
JPEG_QUALITY = 90


@dataclass
class ScenePlan:
    """Everything that decides a scene's files; small enough to hand to another process.

    Attributes:
        index: position in the dataset.  name: official scene name.
    """

    index: int
    name: str
    num_frames: int
    seed: int
    light: Light
    cameras: list[Camera]
    lidar: Lidar
    ego: EgoDrive
    agents: list[Agent]

    @property
    def logfile(self) -> str:
        return f"demo-s{self.seed}-{self.name}"

    def timestamp(self, frame: int) -> int:
        """Microseconds of a key frame (its lidar sweep)."""
        period = int(KEY_FRAME_SECONDS * 1e6)
        return FIRST_TIMESTAMP + self.index * SCENE_DISTANCE + frame * period

    def ego_pose(self, frame: int, delay: int = 0) -> np.ndarray:
        """(x, y, yaw) of the car ``delay`` microseconds after a key frame."""
        return self.ego.at(frame * KEY_FRAME_SECONDS + delay / 1e6)

    def filename(self, channel: str, frame: int, delay: int = 0) -> str:
        """Path of a sensor file below the dataset's folder."""
        ending = "pcd.bin" if channel == LIDAR else "jpg"
        stamp = self.timestamp(frame) + delay
        return f"samples/{channel}/{self.logfile}__{channel}__{stamp}.{ending}"

    def boxes(self, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Annotation boxes: centres [A, 3] (mm precision), sizes [A, 3] wlh, yaws [A], global."""
        centres = [(*a.positions[frame], a.size[2] / 2) for a in self.agents]
        sizes = [a.size for a in self.agents]
        yaws = [a.yaw[frame] for a in self.agents]
        return (
            np.round(np.reshape(centres, (-1, 3)), 3),
            np.reshape(sizes, (-1, 3)),
            np.array(yaws, float),
        )


@dataclass
class FrameRecord:
    """What the sensors saw of every agent in a key frame; arrays over the scene's agents.

    Attributes:
        in_range: near enough to be annotated.  points: lidar points in the box.
        visible: pixels over all cameras.  covered: pixels were it alone.
    """

    in_range: np.ndarray
    points: np.ndarray
    visible: np.ndarray
    covered: np.ndarray


def plan_scene(
    index: int,
    name: str,
    num_frames: int,
    image_size: tuple[int, int],
    seed: int,
    visibility: float | None = None,
    cameras: Sequence[str] = CAMERA_NAMES,
) -> ScenePlan:
    """Draw a scene; depends on nothing but the arguments. Fog hides, but moves nothing."""
    rng = np.random.default_rng([seed, 10, index])
    light = Light.random(rng, visibility)
    rig, lidar = build_cameras(rng, image_size, cameras), build_lidar(rng)
    ego = plan_ego(rng, num_frames)
    agents = plan_traffic(rng, ego, num_frames)
    return ScenePlan(index, name, num_frames, seed, light, rig, lidar, ego, agents)


class SceneRecorder:
    """Renders the key frames of one scene in the town."""

    def __init__(self, plan: ScenePlan, town: Town) -> None:
        self.plan = plan
        self.town = town
        self.views = [CameraView(camera, plan.light) for camera in plan.cameras]
        self._bodies: dict[tuple[int, Signals], Mesh] = {}
        scenery = town.scenery
        self._scenery = Mesh(**{**vars(scenery), "colours": plan.light.shade(scenery)})
        self._scenery_shadows = [
            shadow_outline(scenery.corners[scenery.owner == owner].reshape(-1, 3), plan.light.sun)
            for owner in np.unique(scenery.owner[~_owners_with_facade(scenery)])
        ]

    def _body(self, index: int, frame: int) -> Mesh:
        """The body of an agent in the object frame, with what shows of its motion."""
        agent = self.plan.agents[index]
        key = (index, signals_at(agent, frame))
        if key not in self._bodies:
            self._bodies[key] = build_body(agent.name, agent.size, agent.seed, key[1])
        return self._bodies[key]

    def record(self, frame: int, folder: Path) -> FrameRecord:
        """Write the six images and the lidar sweep of a key frame below ``folder``."""
        plan = self.plan
        ego = plan.ego_pose(frame)
        centres, sizes, yaws = plan.boxes(frame)
        distance = np.linalg.norm(centres[:, :2] - ego[:2], axis=1)
        drawn = np.flatnonzero(distance < DRAWN_RANGE)
        mesh, shadows = self.surroundings(frame, drawn, ego)

        visible, covered = np.zeros(len(centres), int), np.zeros(len(centres), int)
        for view in self.views:
            camera = view.camera
            picture = render(
                view,
                plan.ego_pose(frame, camera.delay),
                mesh,
                len(drawn),
                self.town.ground,
                shadows,
            )
            visible[drawn] += picture.visible
            covered[drawn] += picture.covered
            data = cv2.imencode(".jpg", picture.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
            (folder / plan.filename(camera.name, frame, camera.delay)).write_bytes(data.tobytes())

        rotation = yaw_matrix(ego[2]) @ plan.lidar.rotation
        origin = yaw_matrix(ego[2]) @ plan.lidar.translation + (ego[0], ego[1], 0.0)
        rng = np.random.default_rng([plan.seed, 20, plan.index, frame])
        reach = min(MAX_RANGE, plan.light.visibility or MAX_RANGE)
        sweep = scan(mesh, rotation, origin, rng, reach)
        (folder / plan.filename(LIDAR, frame)).write_bytes(sweep.tobytes())
        points = sweep[:, :3].astype(np.float64) @ rotation.T + origin
        counts = count_points(points, centres, sizes, np.array([yaw_matrix(yaw) for yaw in yaws]))
        return FrameRecord(distance < ANNOTATED_RANGE, counts, visible, covered)

    def surroundings(
        self, frame: int, drawn: np.ndarray, ego: np.ndarray
    ) -> tuple[Mesh, list[np.ndarray]]:
        """Everything around the car, and the outlines of the shadows.

        The mesh is in the global frame, its colours are shaded; the agents ``drawn`` (indices)
        are its first owners.
        """
        plan = self.plan
        centres, _, yaws = plan.boxes(frame)
        bodies = [self._body(i, frame).placed(centres[i] * (1.0, 1.0, 0.0), yaws[i]) for i in drawn]
        shadows = [shadow_outline(b.corners.reshape(-1, 3), plan.light.sun) for b in bodies]
        shadows += [s for s in self._scenery_shadows if _near(s, ego, DRAWN_RANGE)]
        reach = np.abs(self._scenery.corners[..., :2] - ego[:2]).max(2).min(1)
        scenery = self._scenery.select(reach < SCENERY_RANGE)
        scenery.owner = scenery.owner + len(bodies)
        if not bodies:
            return scenery, shadows
        objects = merge(bodies)
        objects.colours = plan.light.shade(objects)
        scenery.solid = np.where(scenery.solid >= 0, scenery.solid + objects.solid.max() + 1, -1)
        joined = {
            name: np.concatenate([getattr(objects, name), getattr(scenery, name)])
            for name in vars(objects)
        }
        return Mesh(**joined), shadows


def _owners_with_facade(mesh: Mesh) -> np.ndarray:
    """[F] True for the faces of owners that have windows painted on (houses)."""
    return np.isin(mesh.owner, np.unique(mesh.owner[mesh.facade]))


def _near(polygon: np.ndarray, ego: np.ndarray, reach: float) -> bool:
    return bool(np.abs(polygon[:, :2] - ego[:2]).max(1).min() < reach)


def shadow_outline(points: np.ndarray, sun: np.ndarray) -> np.ndarray:
    """[k, 3] convex outline on the ground of the shadow of points [n, 3]."""
    shadow = points[:, :2] - points[:, 2:] * (sun[:2] / sun[2])
    origin = shadow.mean(0)
    hull = cv2.convexHull((shadow - origin).astype(np.float32))[:, 0].astype(np.float64)
    return np.c_[hull + origin, np.zeros(len(hull))]
