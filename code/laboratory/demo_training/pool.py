"""The scenes rendered so far, on the training's device; clips are drawn from them at random."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from laboratory.demo_training.batched import Clips
from laboratory.demo_training.scenes import SceneArrays
from pftrack.structures import ClipBatch

# Of a scene; images stay bytes until a clip is drawn.
_ON_DEVICE = ("img", "lidar2img", "to_next", "codes", "labels", "steps", "observed")


class ScenePool:
    """At most ``capacity`` scenes; the oldest is overwritten first.

    Args:
        folder: where the workers' scenes appear; each file is deleted once it is read.
        device: of the training.  seed: of the clips drawn.
    """

    def __init__(self, folder: Path, capacity: int, device: torch.device, seed: int) -> None:
        self.folder, self.capacity, self.device = folder, capacity, device
        self.random = np.random.default_rng(seed)
        self.scenes = 0  # read so far
        self.error: Exception | None = None
        self._arrays: dict[str, Tensor] = {}
        self._ids: list[np.ndarray] = []
        # Copies do not queue behind a step's kernels; copy_ waits until they have arrived.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._reader.join()

    def _read(self) -> None:
        try:
            while not self._stop.is_set():
                for path in sorted(self.folder.glob("*.scene"), key=lambda p: p.stat().st_mtime):
                    self.add(SceneArrays.load(path))
                    path.unlink()
                    if self._stop.is_set():
                        return
                time.sleep(0.2)
        except Exception as error:  # said by the thread that trains
            self.error = error

    def add(self, scene: SceneArrays) -> None:
        """Put one more scene on the device."""
        arrays = {**vars(scene), "to_next": poses_to_next(scene.l2g)}
        if not self._arrays:
            self._arrays = {
                name: torch.empty(
                    (self.capacity, *arrays[name].shape),
                    dtype=torch.from_numpy(arrays[name]).dtype,
                    device=self.device,
                )
                for name in _ON_DEVICE
            }
        slot = self.scenes % self.capacity
        with torch.cuda.stream(self._stream) if self._stream else nullcontext():
            for name in _ON_DEVICE:
                self._arrays[name][slot].copy_(torch.from_numpy(arrays[name]))
        if slot < len(self._ids):
            self._ids[slot] = scene.ids
        else:
            self._ids.append(scene.ids)
        self.scenes += 1

    def draw(self, clips: int, frames: int) -> Clips:
        """Random clips of successive frames, normalised, none with a frame without ground truth."""
        if self.error is not None:
            raise RuntimeError("reading scenes failed") from self.error
        available = len(self._ids)
        length = len(self._ids[0])
        chosen: list[tuple[int, int]] = []
        while len(chosen) < clips:
            scene = int(self.random.integers(available))
            start = int(self.random.integers(length - frames + 1))
            if (self._ids[scene][start : start + frames] >= 0).any(1).all():
                chosen.append((scene, start))
        scenes = np.array([scene for scene, _ in chosen])
        times = np.array([start for _, start in chosen]) + np.arange(frames)[:, None]
        at = torch.from_numpy(np.broadcast_to(scenes, times.shape).copy()).to(self.device)
        when = torch.from_numpy(times).to(self.device)
        drawn = {name: values[at, when] for name, values in self._arrays.items()}
        img = drawn.pop("img").permute(0, 1, 2, 5, 3, 4)
        mean = torch.tensor(ClipBatch.mean, device=self.device)[:, None, None]
        std = torch.tensor(ClipBatch.std, device=self.device)[:, None, None]
        ids = np.stack([self._ids[s][t : t + frames] for s, t in chosen], 1)
        return Clips(img=(img.float() - mean) / std, ids=ids, **drawn)


def poses_to_next(l2g: np.ndarray) -> np.ndarray:
    """[T, 4, 4] float32 pose of each lidar frame in the next one's; the last is the identity."""
    poses = l2g.astype(np.float64)
    result = np.tile(np.eye(4), (len(poses), 1, 1))
    result[:-1] = np.linalg.inv(poses[1:]) @ poses[:-1]
    return result.astype(np.float32)
