"""The host's side of the static step: frames to its inputs, its reports to boxes; numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pftrack.boxes import Boxes
from pftrack.datasets.frames import FrameArrays
from pftrack.frames import Frame
from pftrack.nuscenes.format_results import to_global
from pftrack.sequences import starts_sequence


@dataclass(frozen=True)
class LastFrame:
    """What the next frame needs of the last one: [4, 4] lidar to global, s, scene id."""

    l2g: np.ndarray
    timestamp: float
    scene_id: str | None


class StaticStream:
    """Where a stream of frames stands.

    Args:
        calibration: ``lidar2img`` or ``img2lidar``, what the step reads.

    Attributes:
        sequence: how many sequences have begun.
    """

    def __init__(self, calibration: str, sequence: int = 0) -> None:
        self.calibration = calibration
        self.sequence = sequence
        self._last: LastFrame | None = None

    def inputs(self, arrays: FrameArrays, scene_id: str | None) -> dict[str, np.ndarray]:
        """The step's inputs for the next frame; everything in float64 until the end."""
        now = LastFrame(arrays.l2g.astype(np.float64), arrays.timestamp, scene_id)
        last = self._last or now
        seconds = now.timestamp - last.timestamp
        starts = self._last is None or starts_sequence(last.scene_id, scene_id, lambda: seconds)
        matrices = arrays.lidar2img
        if self.calibration == "img2lidar":
            matrices = np.linalg.inv(matrices)
        self.sequence += starts
        self._last = now
        return {
            "images": np.asarray(arrays.img),
            "calibration": matrices.astype(np.float32),
            "ego_motion": (np.linalg.inv(now.l2g) @ last.l2g).astype(np.float32),
            "seconds": np.array([seconds], dtype=np.float32),
            "new_sequence": np.array([starts]),
        }

    def boxes(
        self, report: Mapping[str, np.ndarray], frame: Frame, classes: tuple[str, ...]
    ) -> Boxes:
        """The reported tracks in the global frame."""
        chosen = report["reported"]
        forecasting = report.get("forecasting")
        return to_global(
            report["boxes"][chosen],
            report["scores"][chosen],
            report["labels"][chosen],
            frame.lidar2ego,
            frame.ego2global,
            ids=[f"{self.sequence}-{number}" for number in report["ids"][chosen].tolist()],
            forecast=None if forecasting is None else forecasting[chosen],
            classes=classes,
        )
