"""What trackers by rules share: numbers of tracks, and which tracks there are."""

from __future__ import annotations

import numpy as np

LOST_SECONDS = 1.6  # a track without a box for longer ends: three key frames, and their jitter


class NumberedTracks:
    """Tracks of one class in one scene.

    Args:
        rows: more arrays with a row for each track, empty, by their names.

    Attributes:
        rows: ``ids`` [n] int, ``seen`` [n] when a box was last linked, s; and those given.
    """

    def __init__(self, **rows: np.ndarray) -> None:
        self.rows = {"ids": np.zeros(0, int), "seen": np.zeros(0), **rows}
        self._count = 0
        self._time = 0.0

    def enter(self, time: float) -> float:
        """Begin a frame at ``time`` s, without the tracks that are lost; s since the last one."""
        elapsed, self._time = time - self._time, time
        self.keep(time - self.rows["seen"] <= LOST_SECONDS)
        return elapsed

    def numbered(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers [n] of boxes; those below 0 begin tracks of their own."""
        new = numbers < 0
        found = numbers.copy()
        found[new] = self._count + np.arange(new.sum())
        self._count += int(new.sum())
        return found

    def leave(self, numbers: np.ndarray, **rows: np.ndarray) -> None:
        """End a frame: tracks ``numbers`` [n] are what ``rows`` [n, ...] say, the others stay."""
        self.keep(~np.isin(self.rows["ids"], numbers))
        rows = {"ids": numbers, "seen": np.full(len(numbers), self._time), **rows}
        self.rows = {k: np.concatenate([self.rows[k], v]) for k, v in rows.items()}

    def keep(self, chosen: np.ndarray) -> None:
        """The tracks that a mask [n] chooses."""
        self.rows = {name: values[chosen] for name, values in self.rows.items()}
