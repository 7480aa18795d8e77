"""Where one sequence of frames ends and the next one begins."""

from __future__ import annotations

from collections.abc import Callable

SEQUENCE_GAP = 10.0  # s


def starts_sequence(
    last_scene: str | None, scene: str | None, seconds: Callable[[], float]
) -> bool:
    """Whether a frame begins a new sequence after the last one.

    By the scene id where both frames have one, else by a time gap above 10 s.

    Args:
        seconds: from the last frame to this one; called only where it decides.
    """
    if scene is not None and last_scene is not None:
        return scene != last_scene
    return abs(seconds()) > SEQUENCE_GAP
