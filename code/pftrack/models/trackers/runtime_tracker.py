"""Life cycle of tracks while streaming: sequences, ids, births, ageing, deaths, reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pftrack.models.box_coder import BoxCoder, denormalize_bbox
from pftrack.models.trackers.track_instances import TrackInstances
from pftrack.structures import TRACKING_CLASSES, FrameBatch

SEQUENCE_GAP = 10.0  # s


@dataclass
class TrackOutput:
    """The reported tracks of one frame, best score first; on the host.

    Attributes:
        boxes: [n, 9] legacy gravity-centre boxes, lidar frame.  scores, track_scores: [n].
        labels: [n] int64.  obj_ids: n pairs (sequence, id).
        forecasting: [n, F, 2] displacement of each future step, m; None without future reasoning.
        rows: [n] int64 row of each track among the frame's instances (detection queries first).
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    track_scores: Tensor
    obj_ids: list[tuple[int, int]]
    forecasting: Tensor | None
    rows: Tensor


@dataclass
class RuntimeTracker:
    """Thresholds and the state between frames.

    Args:
        output_threshold: tracks with a higher score are reported.
        score_threshold: a higher score gives birth to a track and keeps it young.
        record_threshold: a lower score leaves the provisional, forecast state in place.
        max_age_since_update: a track dies after this many frames without a score above.
        tracked_labels: instances of these classes are tracked; by default the first seven, as in
            nuScenes' order of classes.
    """

    output_threshold: float = 0.2
    score_threshold: float = 0.4
    record_threshold: float = 0.4
    max_age_since_update: int = 1
    tracked_labels: Sequence[int] = tuple(range(len(TRACKING_CLASSES)))

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, the sequence counter included."""
        self.tracks: TrackInstances | None = None
        self.last_frame: FrameBatch | None = None
        self.sequence = 0
        self.next_id = 0

    def enter_frame(self, frame: FrameBatch) -> bool:
        """Note the frame; True where it begins a new sequence.

        By the scene id where both frames have one, else by a time gap above 10 s.
        """
        last, self.last_frame = self.last_frame, frame
        if last is not None:
            if frame.scene_ids and last.scene_ids:
                starts = frame.scene_ids[0] != last.scene_ids[0]
            else:
                starts = abs(float(frame.timestamp[0]) - float(last.timestamp[0])) > SEQUENCE_GAP
            if not starts:
                return False
        self.tracks = None
        self.sequence += 1
        self.next_id = 0
        return True

    def update(self, instances: TrackInstances, coder: BoxCoder, has_forecast: bool) -> TrackOutput:
        """Assign ids, age tracks, keep the living ones for the next frame and report.

        Everything is decided on the host after one transfer, the only one of a frame.

        Args:
            instances: the frame's instances, summarised.
            coder: limits of the report.
            has_forecast: whether ``motion_predictions`` mean anything.
        """
        host = _to_host(instances)
        # What broken images leave must not reach other instances through attention.
        tracked = torch.isin(host.labels, torch.tensor(self.tracked_labels)) & host.finite
        confident = host.scores > self.score_threshold

        newborn = tracked & (host.ids < 0)
        ids = torch.where(newborn, self.next_id + newborn.cumsum(0) - 1, host.ids)
        self.next_id += int(newborn.sum())
        is_track = host.is_track | (newborn & confident)

        age = torch.where(confident, 0, host.age + 1)
        alive = tracked & (confident | (is_track & (age < self.max_age_since_update)))
        self._keep(instances, alive.nonzero().flatten(), ids, age, is_track)

        candidates = tracked.nonzero().flatten()
        boxes, scores = host.boxes[candidates], host.scores[candidates]
        rows = candidates[coder.select(boxes, scores, self.output_threshold)]
        return TrackOutput(
            boxes=host.boxes[rows],
            scores=host.scores[rows],
            labels=host.labels[rows],
            track_scores=host.scores[rows],
            obj_ids=[(self.sequence, i) for i in ids[rows].tolist()],
            forecasting=host.displacements[rows] if has_forecast else None,
            rows=rows,
        )

    def _keep(
        self, instances: TrackInstances, rows: Tensor, ids: Tensor, age: Tensor, is_track: Tensor
    ) -> None:
        """Store the rows that live on, in one transfer to the device."""
        device = instances.obj_idxes.device
        notes = torch.stack([rows, ids[rows], age[rows], is_track[rows].long()])
        if device.type == "cuda":
            notes = notes.pin_memory()
        rows, ids, age, track = notes.to(device, non_blocking=True).unbind()
        self.tracks = instances.select(rows).replace(
            obj_idxes=ids, disappear_time=age, track_query_mask=track.bool()
        )


@dataclass
class _HostView:
    """What the life cycle decides by: boxes [N, 9], displacements [N, F, 2], the rest [N]."""

    boxes: Tensor
    displacements: Tensor
    scores: Tensor
    labels: Tensor
    ids: Tensor
    age: Tensor
    is_track: Tensor
    finite: Tensor


def _to_host(instances: TrackInstances) -> _HostView:
    """One packed copy; float64 holds every float32 and every id exactly."""
    state = instances.state
    displacements = state.motion_predictions[..., :2]
    columns = [
        denormalize_bbox(state.bboxes),
        displacements.flatten(1),
        state.scores[:, None],
        state.logits.argmax(-1, keepdim=True),
        instances.obj_idxes[:, None],
        instances.disappear_time[:, None],
        instances.track_query_mask[:, None],
        instances.hist_embeds.isfinite().flatten(1).all(1, keepdim=True),
    ]
    packed = torch.cat([c.double() for c in columns], dim=1).cpu()
    parts = packed.split([c.shape[1] for c in columns], 1)
    boxes, flat, scores, labels, ids, age, track, finite = parts
    return _HostView(
        boxes=boxes.float(),
        displacements=flat.float().view(displacements.shape),
        scores=scores[:, 0].float(),
        labels=labels[:, 0].long(),
        ids=ids[:, 0].long(),
        age=age[:, 0].long(),
        is_track=track[:, 0].bool(),
        finite=finite[:, 0].bool(),
    )
