"""Who is in a scene and where at every moment.

Candidates (a car on a random route, a parked truck, somebody crossing the street, ...) are drawn
one after the other and kept when they meet the recording car often enough, hit nobody, and the
street does not get too full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from laboratory.demo_data.driving import EgoDrive, drive
from laboratory.demo_data.shapes import SIZES
from laboratory.demo_data.town import (
    BORDER,
    CROSSWALK,
    LANE_CENTRE,
    NODES,
    PARKING_CENTRE,
    PATH_STEP,
    ROAD_HALF,
    SPACING,
    Path,
    random_route,
)
from pftrack.nuscenes.facts import KEY_FRAME_SECONDS

SUBSTEPS = 2  # collision checks per key frame
ANNOTATED_RANGE = 55.0  # m
NEAR_RANGE = 42.0  # m in which objects are counted
MEAN_NEAR, MAX_NEAR = 20.0, 28  # objects in that range: average wanted, most in any frame
ATTEMPTS = 900
EGO_SIZE = (2.0, 4.6, 1.7)
EGO_CENTRE = 1.4  # m from the rear axle to the middle of the car

VEHICLES = ("car", "truck", "bus", "trailer", "construction_vehicle")
CYCLES = ("motorcycle", "bicycle")
MOVING = ("car", "truck", "bus", "trailer", *CYCLES)  # wanted in every scene


@dataclass
class Agent:
    """One object over a scene.

    Attributes:
        name: class.  size: width, length, height, m.  seed: look of the body.
        positions: [T, 2] centre on the ground at every key frame.  yaw: [T] rad.
        speed: [T] m/s.  attribute: [T] nuScenes attribute names, '' for none.
    """

    name: str
    size: tuple[float, float, float]
    seed: int
    positions: np.ndarray
    yaw: np.ndarray
    speed: np.ndarray
    attribute: list[str]


@dataclass
class _Candidate:
    """An object over the fine time steps: positions [S, 2], yaw [S], speed [S]."""

    name: str
    size: tuple[float, float, float]
    positions: np.ndarray
    yaw: np.ndarray
    speed: np.ndarray
    parked: bool = False


def _draw_size(rng: np.random.Generator, name: str) -> tuple[float, float, float]:
    w, l, h = np.array(SIZES[name]) * np.clip(rng.normal(1.0, 0.04, 3), 0.9, 1.1)  # noqa: E741
    return round(float(w), 3), round(float(l), 3), round(float(h), 3)


def _near_street(rng: np.random.Generator, ego: np.ndarray) -> tuple[int, int, int]:
    """A random street piece around one of the ego positions: (axis, line, piece)."""
    point = ego[rng.integers(len(ego)), :2] + rng.normal(0, 30, 2)
    cell = (point - BORDER) / SPACING
    axis = int(rng.integers(2))
    line = int(np.clip(np.round(cell[1 - axis]), 0, NODES - 1))
    piece = int(np.clip(np.floor(cell[axis]), 0, NODES - 2))
    return axis, line, piece


def _beside(axis: int, line: int, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """[..., 2] global points ``along`` (global coordinate) and ``across`` m from a centre line."""
    points = np.empty((*np.shape(along), 2))
    points[..., axis] = along
    points[..., 1 - axis] = BORDER + SPACING * line + across
    return points


class _Population:
    """Draws candidates around an ego drive sampled at fine ``times``."""

    def __init__(self, rng: np.random.Generator, ego: np.ndarray, times: np.ndarray) -> None:
        self.rng, self.ego, self.times = rng, ego, times
        self._kinds: list[tuple[Callable[[], list[_Candidate]], float]] = [
            (self.moving_vehicle, 0.4),
            (self.parked_vehicle, 0.17),
            (self.walker, 0.18),
            (self.crosser, 0.1),
            (self.leaver, 0.06),
            (self.standing_group, 0.05),
            (self.work_zone, 0.04),
        ]

    def draw(self, missing: list[str]) -> list[_Candidate]:
        """Something at random; half of the time one of the ``missing`` classes."""
        if missing and self.rng.random() < 0.5:
            return self.moving_vehicle(missing[self.rng.integers(len(missing))])
        weights = np.array([weight for _, weight in self._kinds])
        return self._kinds[self.rng.choice(len(self._kinds), p=weights / weights.sum())][0]()

    def _still(self, name: str, point: np.ndarray, yaw: float, parked: bool = True) -> _Candidate:
        n = len(self.times)
        size = _draw_size(self.rng, name)
        return _Candidate(name, size, np.tile(point, (n, 1)), np.full(n, yaw), np.zeros(n), parked)

    def moving_vehicle(self, name: str | None = None) -> list[_Candidate]:
        """A vehicle or cycle on a random route through the town, stopping at times."""
        rng = self.rng
        kinds = ("car", "truck", "bus", "motorcycle", "bicycle", "trailer", "construction_vehicle")
        if name is None:
            name = kinds[rng.choice(7, p=[0.38, 0.12, 0.11, 0.15, 0.16, 0.05, 0.03])]
        axis, line, piece = _near_street(rng, self.ego)
        forward = bool(rng.integers(2))
        node = [0, 0]
        node[axis], node[1 - axis] = piece + (not forward), line
        direction = [0, 0]
        direction[axis] = 1 if forward else -1
        slow = {"bicycle": (2.5, 5.0), "construction_vehicle": (1.5, 3.0)}
        cruise = rng.uniform(*slow.get(name, (4.0, 9.5)))
        duration = self.times[-1] - self.times[0]
        path = random_route(
            rng, (node[0], node[1]), (direction[0], direction[1]), cruise * duration + 90.0, 0.5
        )
        stops = []
        if rng.random() < 0.45:
            begin = rng.uniform(-3.0, max(duration - 2.0, 0.1))
            stops.append((begin, begin + rng.uniform(2.0, 6.0)))
        s, speed = drive(path, cruise, rng.uniform(0.0, 50.0), self.times, stops)
        position, yaw = path.at(s, offset=1.15 if name == "bicycle" else rng.normal(0, 0.12))
        return [_Candidate(name, _draw_size(rng, name), position, yaw, speed)]

    def _parking_spot(self) -> tuple[np.ndarray, float]:
        axis, line, piece = _near_street(self.rng, self.ego)
        side = 1 if self.rng.random() < 0.5 else -1
        along = BORDER + piece * SPACING + self.rng.uniform(15.0, SPACING - 15.0)
        point = _beside(axis, line, np.array(along), np.array(side * PARKING_CENTRE))
        # traffic keeps right: along an x street it runs east south of the centre line
        towards = -side if axis == 0 else side
        yaw = (0.0 if axis == 0 else np.pi / 2) + (0.0 if towards > 0 else np.pi)
        return point, yaw + self.rng.normal(0, 0.015)

    def parked_vehicle(self) -> list[_Candidate]:
        """One vehicle, or two or three in a row."""
        kinds = ("car", "truck", "trailer", "bus", "construction_vehicle")
        point, yaw = self._parking_spot()
        ahead = np.array([np.cos(yaw), np.sin(yaw)])
        row: list[_Candidate] = []
        for _ in range(self.rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2])):
            name = kinds[self.rng.choice(5, p=[0.62, 0.14, 0.14, 0.06, 0.04])]
            vehicle = self._still(name, point, yaw)
            if row:
                gap = (row[-1].size[1] + vehicle.size[1]) / 2 + self.rng.uniform(0.7, 2.0)
                vehicle.positions = row[-1].positions + gap * ahead
            row.append(vehicle)
        return row

    def leaver(self) -> list[_Candidate]:
        """A parked car that pulls out after a while and drives away."""
        point, yaw = self._parking_spot()
        rng = self.rng
        ahead = np.array([np.cos(yaw), np.sin(yaw)])
        left = np.array([-ahead[1], ahead[0]])
        along = np.arange(0.0, 90.0, PATH_STEP)
        blend = np.clip((along - 2.0) / 12.0, 0, 1)
        shift = (PARKING_CENTRE - LANE_CENTRE) * blend**2 * (3 - 2 * blend)
        points = point + along[:, None] * ahead + shift[:, None] * left
        tangent = np.gradient(points, axis=0)
        path = Path(points, np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0])))
        wait = rng.uniform(0.0, 0.7 * self.times[-1] + 0.1)
        s, speed = drive(path, rng.uniform(5.0, 8.0), 0.0, self.times, [(-9.0, wait)])
        position, heading = path.at(s)
        return [_Candidate("car", _draw_size(rng, "car"), position, heading, speed)]

    def _stroll(self, begin: np.ndarray, end: np.ndarray, pace: float, start: float) -> _Candidate:
        """Walks from one point to another, then stands."""
        length = float(np.linalg.norm(end - begin))
        s = np.clip((self.times - start) * pace, 0.0, length)
        moving = (s > 0) & (s < length)
        heading = float(np.arctan2(*(end - begin)[::-1]))
        position = begin + (end - begin) * (s / length)[:, None]
        yaw = np.full(len(s), heading)
        size = _draw_size(self.rng, "pedestrian")
        return _Candidate("pedestrian", size, position, yaw, pace * moving)

    def walker(self) -> list[_Candidate]:
        """One to three people along a sidewalk."""
        rng = self.rng
        axis, line, piece = _near_street(rng, self.ego)
        ends = np.array([6.0, SPACING - 6.0]) + BORDER + piece * SPACING
        ends = ends[:: 1 if rng.random() < 0.5 else -1]
        pace, late = rng.uniform(0.9, 1.7), rng.uniform(-40.0, 2.0)
        side = 1 if rng.random() < 0.5 else -1
        people = []
        for i in range(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])):
            across = rng.uniform(6.8, 7.9)
            a, b = (_beside(axis, line, np.array(e), np.array(side * across)) for e in ends)
            people.append(self._stroll(a, b, pace, late + 1.1 * i))
        return people

    def crosser(self) -> list[_Candidate]:
        """Somebody crosses the street, at a crosswalk or from between parked cars."""
        rng = self.rng
        axis, line, piece = _near_street(rng, self.ego)
        at_crossing = rng.random() < 0.6
        offset = CROSSWALK + rng.uniform(-1, 1) if at_crossing else rng.uniform(18, SPACING - 18)
        if at_crossing and rng.random() < 0.5:
            offset = SPACING - offset
        along = np.array(BORDER + piece * SPACING + offset)
        side = 1 if rng.random() < 0.5 else -1
        a, b = (_beside(axis, line, along, np.array(q * side * (ROAD_HALF + 1.4))) for q in (1, -1))
        return [self._stroll(a, b, rng.uniform(1.1, 1.8), rng.uniform(0, self.times[-1] * 0.8))]

    def standing_group(self) -> list[_Candidate]:
        rng = self.rng
        axis, line, piece = _near_street(rng, self.ego)
        along = BORDER + piece * SPACING + rng.uniform(12, SPACING - 12)
        side = 1 if rng.random() < 0.5 else -1
        people = []
        for i in range(int(rng.integers(1, 4))):
            point = _beside(
                axis, line, np.array(along + 0.95 * i), np.array(side * rng.uniform(6.9, 7.9))
            )
            people.append(self._still("pedestrian", point, rng.uniform(-np.pi, np.pi), False))
        return people

    def work_zone(self) -> list[_Candidate]:
        """Cones and barriers around a piece of the parking lane, often with a machine."""
        rng = self.rng
        point, yaw = self._parking_spot()
        ahead = np.array([np.cos(yaw), np.sin(yaw)])
        left = np.array([-ahead[1], ahead[0]])
        members = [
            self._still("traffic_cone", point + x * ahead + y * left, yaw)
            for x, y in ((-8.0, 0.6), (-6.5, 0.9), (-5.0, 1.0), (8.0, 0.6))
        ]
        members += [self._still("barrier", point + x * ahead - 0.9 * left, yaw) for x in (6.0, 8.7)]
        if rng.random() < 0.75:
            members.append(self._still("construction_vehicle", point - 0.2 * left, yaw))
        return members


def _overlaps(a: _Candidate, b: _Candidate, margin: float) -> bool:
    """Whether two rectangles come closer than ``margin`` at any time (separating axes)."""
    gap = b.positions - a.positions
    reach = (np.hypot(*a.size[:2]) + np.hypot(*b.size[:2])) / 2 + margin
    near = np.flatnonzero((gap**2).sum(1) < reach**2)
    if len(near) == 0:
        return False
    gap, yaw_a, yaw_b = gap[near], a.yaw[near], b.yaw[near]
    turn = yaw_b - yaw_a
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    apart = np.zeros(len(near), bool)
    for yaw, own, other in ((yaw_a, a.size, b.size), (yaw_b, b.size, a.size)):
        forward = gap[:, 0] * np.cos(yaw) + gap[:, 1] * np.sin(yaw)
        sideways = -gap[:, 0] * np.sin(yaw) + gap[:, 1] * np.cos(yaw)
        apart |= np.abs(forward) > (own[1] + other[1] * cos + other[0] * sin) / 2 + margin
        apart |= np.abs(sideways) > (own[0] + other[1] * sin + other[0] * cos) / 2 + margin
    return bool((~apart).any())


def _attributes(candidate: _Candidate, speed: np.ndarray) -> list[str]:
    if candidate.name in VEHICLES:
        still = "vehicle.parked" if candidate.parked else "vehicle.stopped"
        return ["vehicle.moving" if v > 0.2 else still for v in speed]
    if candidate.name in CYCLES:
        return ["cycle.with_rider"] * len(speed)
    if candidate.name == "pedestrian":
        return ["pedestrian.moving" if v > 0.2 else "pedestrian.standing" for v in speed]
    return [""] * len(speed)


def plan_traffic(rng: np.random.Generator, ego: EgoDrive, num_frames: int) -> list[Agent]:
    """The objects of a scene."""
    times = np.arange((num_frames - 1) * SUBSTEPS + 1) * (KEY_FRAME_SECONDS / SUBSTEPS)
    poses = ego.at(times)
    middle = poses[:, :2] + EGO_CENTRE * np.stack([np.cos(poses[:, 2]), np.sin(poses[:, 2])], -1)
    car = _Candidate("car", EGO_SIZE, middle, poses[:, 2], np.zeros(len(times)))
    population = _Population(rng, poses, times)
    accepted: list[_Candidate] = []
    near = np.zeros(len(times), int)
    for _ in range(ATTEMPTS):
        if near.mean() >= MEAN_NEAR:
            break
        present = {c.name for c in accepted}
        group = population.draw([name for name in MOVING if name not in present])
        seen = np.array([np.linalg.norm(c.positions - middle, axis=1) < NEAR_RANGE for c in group])
        if seen.any(0).mean() < 0.2 or (near + seen.sum(0)).max() > MAX_NEAR:
            continue
        if any(_overlaps(c, car, 0.5) for c in group):
            continue
        if any(_overlaps(c, other, 0.15) for c in group for other in accepted):
            continue
        if any(_overlaps(a, b, 0.02) for i, a in enumerate(group) for b in group[:i]):
            continue
        accepted.extend(group)
        near += seen.sum(0)
    return [_to_agent(c, int(rng.integers(2**31))) for c in accepted]


def _to_agent(candidate: _Candidate, seed: int) -> Agent:
    keyframes = slice(None, None, SUBSTEPS)
    speed = candidate.speed[keyframes]
    return Agent(
        candidate.name,
        candidate.size,
        seed,
        candidate.positions[keyframes],
        candidate.yaw[keyframes],
        speed,
        _attributes(candidate, speed),
    )
