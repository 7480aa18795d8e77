"""The streaming API on the static step: one graph, compiled once, for every frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pftrack.boxes import Boxes
from pftrack.datasets.frames import FrameArrays, check_shapes, prepare_frame
from pftrack.datasets.image_settings import ImageSettings
from pftrack.deployment.static_stream import StaticStream
from pftrack.errors import UserError
from pftrack.models.acceleration import precision_context, require_compiler
from pftrack.models.trackers.cuda_graph import GraphedStep
from pftrack.models.trackers.static_step import StaticStep
from pftrack.models.trackers.tracker import StageTimer, untimed
from pftrack.structures import Frame, Track


class StaticTracker:
    """:class:`Tracker` on a :class:`StaticStep`: the same tracks.

    Args:
        step: on its device, its model in evaluation mode.
        images: how images become network input.
        classes: names of the labels.
        precision: fp32, fp16 or bf16 of the network; geometry and thresholds stay in fp32.
        compile: ``torch.compile`` the step as one graph; the first frame is slow.
        cuda_graph: record the step at the first frame, and replay the recording.

    Raises:
        UserError: a CUDA graph without a GPU, compilation without a compiler.
    """

    def __init__(
        self,
        step: StaticStep,
        images: ImageSettings,
        classes: tuple[str, ...],
        precision: str = "fp32",
        compile: bool = True,
        cuda_graph: bool = False,
    ) -> None:
        if cuda_graph and step.device.type != "cuda":
            raise UserError(
                f"cuda_graph=True needs a GPU, this tracker is on {step.device}: give "
                "device='cuda', or leave cuda_graph out"
            )
        if compile:
            require_compiler("static=True (compile=False does without)")
        self.static_step = step
        self.images = images
        self.classes = classes
        self.precision = precision
        self.stage: StageTimer = untimed
        self._step: Any = torch.compile(step, fullgraph=True, dynamic=False) if compile else step
        self._cuda_graph = cuda_graph
        self._graphed: GraphedStep | None = None
        self.reset()

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.static_step.device

    def reset(self, sequence: int = 0) -> None:
        """Forget all tracks; ids and sequences start again.

        Args:
            sequence: as if so many sequences had been seen.
        """
        self.stream = StaticStream(self.static_step.calibration, sequence)
        self.memory: dict[str, Tensor] | None = None

    def step(self, frame: Frame, arrays: FrameArrays | None = None) -> list[Track]:
        """Track one more frame: :meth:`step_boxes` as a list of :class:`Track`."""
        return list(self.step_boxes(frame, arrays))

    def step_boxes(self, frame: Frame, arrays: FrameArrays | None = None) -> Boxes:
        """Track one more frame; see :meth:`Tracker.step_boxes`."""
        check_shapes(frame)
        if arrays is None:
            with self.stage("decode"):
                arrays = prepare_frame(
                    frame,
                    self.images.augmentation,
                    self.images.size_divisor,
                    mean=self.images.mean,
                )
        inputs = self.stream.inputs(arrays, frame.scene_id)
        with self.stage("step"):
            report = self._run({name: torch.from_numpy(v) for name, v in inputs.items()})
        return self.stream.boxes(report, frame, self.classes)

    def _run(self, frame: dict[str, Tensor]) -> dict[str, np.ndarray]:
        """The report of a frame, on the host."""
        with torch.no_grad(), precision_context(self.precision, self.device):
            report = self._report(frame)
        return {name: value.cpu().numpy() for name, value in report.items()}

    def _report(self, frame: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.memory is None:
            self.memory = self.static_step.empty_memory(frame)
        if self._cuda_graph:
            if self._graphed is None:
                on_device = {name: value.to(self.device) for name, value in frame.items()}
                self._graphed = GraphedStep(self._step, on_device, self.memory)
            # new_sequence makes a recording forget; reset() needs nothing else.
            return self._graphed(frame)
        frame = {name: v.to(self.device, non_blocking=True) for name, v in frame.items()}
        report, self.memory = self._step(frame, self.memory)
        return report
