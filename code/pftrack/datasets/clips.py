"""Clips: which frames a training sample consists of."""

from __future__ import annotations


def clip_indices(index: int, scene: range, num_frames: int) -> list[int]:
    """Frames ``index - num_frames + 1 .. index``; before the scene's first frame, that frame again.

    Args:
        index: the newest frame of the clip.
        scene: the indices of its scene, ``index`` among them.
    """
    return [max(i, scene.start) for i in range(index - num_frames + 1, index + 1)]
