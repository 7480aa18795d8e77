"""What shows of an object's motion at a key frame: lamps, indicators, the stride of a walker."""

from __future__ import annotations

import numpy as np

from laboratory.demo_data.shapes import Signals
from laboratory.demo_data.traffic import CYCLES, Agent
from pftrack.nuscenes.facts import KEY_FRAME_SECONDS

STRIDE_LENGTH = 0.75  # m walked per step
LEAST_STRIDE = 0.5  # of a walker's widest: legs that pass each other look like standing
AHEAD = 7  # key frames of which the indicators tell
TURN = 0.3  # rad in that time from which they are on
SLOWING = 0.4  # m/s a key frame from which the brake lights are on


def signals_at(agent: Agent, frame: int) -> Signals:
    """Indicators tell of turns, and of setting off from the kerb, before they begin."""
    speed = agent.speed
    if agent.name == "pedestrian":
        if agent.attribute[frame] != "pedestrian.moving":
            return Signals()
        walked = float(speed[: frame + 1].sum() * KEY_FRAME_SECONDS) / STRIDE_LENGTH
        swing = float(np.cos(np.pi * walked))
        widest = max(abs(swing), LEAST_STRIDE)
        return Signals(stride=round(float(np.copysign(widest, swing)), 1))
    if agent.name in CYCLES:
        return Signals(turning=_turning(agent, frame))
    if agent.attribute[frame] == "vehicle.parked":
        return Signals(lit=False)
    now, last = speed[frame], len(speed) - 1
    waits = bool(now < 0.2 and speed[min(frame + 1, last)] < 0.2)
    slows = bool(now - speed[min(frame + 1, last)] > SLOWING)
    return Signals(braking=waits or slows, turning=_turning(agent, frame))


def _turning(agent: Agent, frame: int) -> int:
    """1 left, -1 right, 0 straight on."""
    until = min(frame + AHEAD, len(agent.yaw) - 1)
    turn = np.unwrap(agent.yaw)[[frame, until]]
    change = float(turn[1] - turn[0])
    return int(np.sign(change)) if abs(change) > TURN else 0
