"""The two ways to track a stream of frames, with the same outcome to compare."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pftrack.models.layers.frustum import invert_projection
from pftrack.models.trackers.life_cycle import StreamMemory, Thresholds, TrackOutput, enter_frame
from pftrack.models.trackers.static_step import REST, STATE, StaticStep
from pftrack.models.trackers.track_instances import TrackInstances
from pftrack.structures import FrameBatch

SLOTS = 1000


class OrdinaryStream:
    """:meth:`Cam3DTracker.forward_track` on frame after frame."""

    not_remembered: tuple[str, ...] = ()

    def __init__(self, model: Any, thresholds: Thresholds) -> None:
        self.model, self.thresholds, self.memory = model, thresholds, StreamMemory()

    def __call__(self, frame: FrameBatch) -> tuple[TrackOutput, StreamMemory]:
        """What is reported, and remembered."""
        output, self.memory = self.model.forward_track(frame, self.memory, self.thresholds)
        return output, self.memory


class StaticStream:
    """:class:`StaticStep` on frame after frame; images arrive normalised."""

    # Computed anew from the positions before the next frame reads them.
    not_remembered = ("live.query_embeds_s",)

    def __init__(self, model: Any, thresholds: Thresholds) -> None:
        self.model, self.thresholds = model, thresholds
        self.memory = StreamMemory()
        self.kept: dict[str, Tensor] = {}

    def __call__(self, frame: FrameBatch) -> tuple[TrackOutput, StreamMemory]:
        """As :meth:`OrdinaryStream.__call__`."""
        step = StaticStep(
            self.model, frame.img_shape, (0.0,) * 3, (1.0,) * 3, self.thresholds, SLOTS
        )
        before, last = enter_frame(self.memory, frame.pose), self.memory.last or frame.pose
        starts = before.sequence != self.memory.sequence
        matrices = frame.lidar2img[0]
        inverse = step.calibration == "img2lidar"
        motion = torch.linalg.inv(frame.l2g[0].double()) @ last.l2g[0].double()
        inputs = {
            "images": frame.img[0].permute(0, 2, 3, 1),
            "calibration": invert_projection(matrices) if inverse else matrices.float(),
            "ego_motion": motion.float(),
            "seconds": (frame.timestamp - last.timestamp).float(),
            "new_sequence": torch.tensor([starts]),
        }
        report, self.kept = step(inputs, self.kept or step.empty_memory(inputs))
        self.memory = StreamMemory(
            tracks=self._tracks(step), last=frame.pose, sequence=before.sequence,
            next_id=int(self.kept["next_id"]),
        )  # fmt: skip
        return self._output(report, before.sequence), self.memory

    def _tracks(self, step: StaticStep) -> TrackInstances:
        """The live rows of the memory as the ordinary tracker has them."""
        live = self.kept["live"]
        blank = step._blank_tracks()
        return blank.replace(
            state=blank.state.replace(**{name: self.kept[name] for name in STATE}),
            **{name: self.kept[name] for name in REST},
        ).select(live)

    def _output(self, report: dict[str, Tensor], sequence: int) -> TrackOutput:
        chosen = {name: value[report["reported"]] for name, value in report.items()
                  if name not in ("reported", "dropped")}  # fmt: skip
        return TrackOutput(
            boxes=chosen["boxes"],
            scores=chosen["scores"],
            labels=chosen["labels"],
            track_scores=chosen["scores"],
            obj_ids=[(sequence, number) for number in chosen["ids"].tolist()],
            forecasting=chosen.get("forecasting"),
            rows=chosen["rows"],
        )
