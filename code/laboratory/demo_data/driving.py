"""Driving along a path: speeds that suit the curves, stops, and the recording car's own drive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laboratory.demo_data.town import NODES, PATH_STEP, Path, random_route
from pftrack.nuscenes.facts import KEY_FRAME_SECONDS

ACCELERATION = 2.0  # m/s^2
TURN_ACCELERATION = 2.6  # m/s^2 sideways


@dataclass
class EgoDrive:
    """The recording car: (x, y, yaw) [n, 3] of its rear axle at ``times`` [n] s."""

    times: np.ndarray
    poses: np.ndarray

    def at(self, time: float | np.ndarray) -> np.ndarray:
        """Pose [..., 3] at a time in seconds since the first key frame."""
        return np.stack([np.interp(time, self.times, self.poses[:, i]) for i in range(3)], -1)


def drive(
    path: Path, cruise: float, start: float, times: np.ndarray, stops: list[tuple[float, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Arc lengths [n] m and speeds [n] m/s along a path.

    Slows down ahead of curves and stops in the time spans ``stops`` (begin, end), s; stays at the
    path's end once it is reached.
    """
    limit = np.minimum(cruise, np.sqrt(TURN_ACCELERATION / np.maximum(path.curvature(), 1e-4)))
    limit[-1] = 0.0
    for i in range(len(limit) - 2, -1, -1):  # brake in time for what comes
        limit[i] = min(limit[i], np.sqrt(limit[i + 1] ** 2 + 2 * ACCELERATION * PATH_STEP))

    def allowed(now: float, s: float) -> float:
        if any(begin <= now < end for begin, end in stops):
            return 0.0
        return float(limit[min(int(s / PATH_STEP), len(limit) - 1)])

    step = 0.05
    clock = np.arange(times[0], times[-1] + step, step)
    distance, speeds = np.empty(len(clock)), np.empty(len(clock))
    s, speed = start, allowed(clock[0], start)
    for i, now in enumerate(clock):
        distance[i], speeds[i] = s, speed
        change = allowed(now, s) - speed
        speed += min(max(change, -1.5 * ACCELERATION * step), ACCELERATION * step)
        s = min(s + max(speed, 0.0) * step, path.length)
    return np.interp(times, clock, distance), np.interp(times, clock, speeds)


def plan_ego(rng: np.random.Generator, num_frames: int) -> EgoDrive:
    """A drive through the town, turning at about every second crossing, at times waiting."""
    duration = (num_frames - 1) * KEY_FRAME_SECONDS
    node = tuple(int(v) for v in rng.integers(1, NODES - 1, 2))
    direction = [(1, 0), (-1, 0), (0, 1), (0, -1)][rng.integers(4)]
    cruise = rng.uniform(5.0, 8.5)
    path = random_route(rng, node, direction, cruise * duration + 150.0, 0.65)  # type: ignore[arg-type]
    stops = []
    if duration > 8 and rng.random() < 0.7:
        begin = rng.uniform(2.0, duration - 5.0)
        stops.append((begin, begin + rng.uniform(2.5, 4.5)))
    times = np.arange(-0.2, duration + 0.25, 0.05)
    s, _ = drive(path, cruise, rng.uniform(5.0, 35.0), times, stops)
    position, heading = path.at(s)
    return EgoDrive(times, np.c_[position, heading])
