"""Time by stage of a frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class StageClock:
    """Adds up seconds by stage name; as ``stage`` of a tracker, it times its stages.

    Args:
        synchronize: wait for the GPU at both ends of a stage. Without, a stage on a GPU shows
            only the time to launch it, and the last one waits for all of them.
        now: the time in seconds, from any start; ``time.process_time`` counts CPU seconds of all
            threads, which do not depend on what else runs on the machine.
    """

    def __init__(self, synchronize: bool = False, now: Callable[[], float] = time.perf_counter):
        self.seconds: dict[str, float] = {}
        self._synchronize = synchronize
        self._time = now

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = self.now()
        try:
            yield
        finally:
            self.add(name, self.now() - start)

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def take(self) -> dict[str, float]:
        """What has been added up since the last call."""
        seconds, self.seconds = self.seconds, {}
        return seconds

    def now(self) -> float:
        """The time, s."""
        if self._synchronize:
            import torch

            torch.cuda.synchronize()
        return self._time()
