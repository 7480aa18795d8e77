"""The two ways to track a stream of frames, with the same outcome to compare."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from laboratory.parity.arithmetic import arithmetic_of, needs_arithmetic, reference_arithmetic
from pftrack.geometry import change_lidar_frame
from pftrack.models.layers.frustum import invert_projection
from pftrack.models.trackers import static_step
from pftrack.models.trackers.life_cycle import StreamMemory, Thresholds, TrackOutput, enter_frame
from pftrack.models.trackers.static_step import REST, STATE, StaticStep
from pftrack.models.trackers.track_instances import TrackInstances
from pftrack.structures import FrameBatch, FramePose

SLOTS = 1000


class OrdinaryStream:
    """:meth:`Cam3DTracker.forward_track` on frame after frame, in the reference's arithmetic."""

    not_remembered: tuple[str, ...] = ()

    def __init__(self, model: Any, thresholds: Thresholds) -> None:
        self.model, self.thresholds, self.memory = model, thresholds, StreamMemory()

    def __call__(self, frame: FrameBatch) -> tuple[TrackOutput, StreamMemory]:
        """What is reported, and remembered."""
        with arithmetic_of(self.model):
            output, self.memory = self.model.forward_track(frame, self.memory, self.thresholds)
        return output, self.memory


class StaticStream:
    """:class:`StaticStep` on frame after frame, likewise; images arrive normalised."""

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
        begun, last = enter_frame(self.memory, frame.pose), self.memory.last or frame.pose
        starts = begun.sequence != self.memory.sequence
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
        before = self.kept or step.empty_memory(inputs)
        live = torch.zeros(SLOTS, dtype=torch.bool) if starts else before["live"]
        queries = torch.ones(len(self.model.reference_points.weight), dtype=torch.bool)
        masks = (live, torch.cat([queries, live]))
        with ExitStack() as stack:
            if needs_arithmetic(self.model):
                rows = {len(mask): mask.nonzero().flatten() for mask in masks}
                stack.enter_context(reference_arithmetic(rows))
                stack.enter_context(_ego_motion_of(rows[SLOTS], last, frame.pose))
            report, self.kept = step(inputs, before)
        self.memory = StreamMemory(
            tracks=self._tracks(step), last=frame.pose, sequence=begun.sequence,
            next_id=int(self.kept["next_id"]),
        )  # fmt: skip
        return self._output(report, begun.sequence), self.memory

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


def _ego_motion_of(rows: Tensor, last: FramePose, now: FramePose) -> AbstractContextManager[object]:
    """Tracks in the slots ``rows`` move as the reference's do: through the world, not by one
    matrix, and without the empty slots, of which a product's rounding depends."""

    def moved(points: Tensor, _motion: Tensor) -> Tensor:
        slots = points.view(SLOTS, -1, 3)
        world = change_lidar_frame(slots[rows].view(-1, 3), last.l2g[0], now.l2g[0])
        return (
            torch.zeros_like(slots)
            .index_copy(0, rows, world.view(-1, *slots.shape[1:]))
            .view(-1, 3)
        )

    return mock.patch.object(static_step, "transform_points", moved)
