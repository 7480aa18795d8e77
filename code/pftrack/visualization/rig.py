"""Where a rig's cameras stand in a picture, and what they are called there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pftrack.nuscenes.facts import CAMERAS

# nuScenes' six, as everybody draws them.
ROWS = (
    ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"),
    ("CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"),
)
_ONE_ROW = 3  # so many cameras stand side by side


def camera_names(count: int, names: Sequence[str] = ()) -> list[str]:
    """The names of ``count`` cameras; without any nuScenes' where there are six, else numbers."""
    if len(names) == count:
        return list(names)
    return list(CAMERAS) if count == len(CAMERAS) else [str(i) for i in range(count)]


def label(name: str) -> str:
    """A camera's name as a picture says it."""
    return name.removeprefix("CAM_").replace("_", " ").lower()


def layout(names: Sequence[str], sensor2ego: np.ndarray) -> list[list[int | None]]:
    """Rows of cameras (None: an empty place): those that look forward above, back below.

    In both rows the left side of the vehicle is on the left. Cameras of nuScenes alone stand as
    always; up to three others stand in one row, by where they look.

    Args:
        names: V.  sensor2ego: [V, 4, 4] camera to ego, x forward, y left.
    """
    if set(names) <= set(CAMERAS) and len(names) > _ONE_ROW:
        place = {name: i for i, name in enumerate(names)}
        return [[place.get(name) for name in row] for row in ROWS]
    axis = np.asarray(sensor2ego)[:, :2, 2]
    yaw = np.arctan2(axis[:, 1], axis[:, 0])  # left positive
    if len(names) <= _ONE_ROW:
        return [np.argsort(-yaw, kind="stable").tolist()]
    # The half that looks most forward is above.
    forward = np.argsort(np.abs(yaw), kind="stable")
    above, below = np.split(forward, [-(-len(names) // 2)])
    rows = [above[np.argsort(-yaw[above], kind="stable")].tolist()]
    behind = (yaw[below] + 2 * np.pi) % (2 * np.pi)  # from the left (90 degrees) to the right
    rows.append(below[np.argsort(behind, kind="stable")].tolist())
    rows[1] += [None] * (len(rows[0]) - len(rows[1]))
    return rows
