"""Life cycle of tracks while streaming: sequences, ids, births, ageing, deaths, reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor

from pftrack.models.box_coder import BoxCoder, denormalize_bbox
from pftrack.models.trackers.track_instances import TrackInstances
from pftrack.sequences import starts_sequence
from pftrack.structures import TRACKING_CLASSES, FramePose, upload
from pftrack.values import Threshold

NO_CANDIDATE = -1.0  # in place of the score of an instance that is not to be reported


@dataclass
class TrackOutput:
    """The reported tracks of one frame, best score first; on the host.

    Attributes:
        boxes: [n, 9] legacy gravity-centre boxes, lidar frame.  scores, track_scores: [n].
        labels: [n] int64.  obj_ids: n pairs (sequence, id).
        forecasting: [n, F, 2] displacement of each future step, m; None without future reasoning.
        rows: [n] int64 row of each track among the frame's instances (detection queries first).
        not_finite: how many instances were left out because their numbers are not finite.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    track_scores: Tensor
    obj_ids: list[tuple[int, int]]
    forecasting: Tensor | None
    rows: Tensor
    not_finite: int = 0


@dataclass(frozen=True)
class Thresholds:
    """What decides about tracks; ``runtime_tracker`` of a configuration.

    Attributes:
        output_threshold: tracks with a higher score are reported.
        score_threshold: a higher score gives birth to a track and keeps it young.
        record_threshold: a lower score leaves the provisional, forecast state in place.
        max_age_since_update: a track dies after this many frames without a score above.
        tracked_labels: instances of these classes are tracked; by default the first seven, as in
            nuScenes' order of classes.
    """

    output_threshold: Threshold = 0.2
    score_threshold: Threshold = 0.4
    record_threshold: Threshold = 0.4
    max_age_since_update: Annotated[int, Meta(ge=0)] = 1
    tracked_labels: Sequence[int] = tuple(range(len(TRACKING_CLASSES)))


@dataclass(frozen=True)
class StreamMemory:
    """What a stream of frames hands to its next frame. ``StreamMemory()`` begins one.

    Attributes:
        tracks: the living ones, as the last frame left them; None: none yet in this sequence.
        last: pose and time of the last frame; None: there was none.
        sequence: how many sequences have begun.  next_id: of the next newborn in this one.
        head: what the head remembers of the last frame, see :class:`HeadOutput`; None: nothing.
    """

    tracks: TrackInstances | None = None
    last: FramePose | None = None
    sequence: int = 0
    next_id: int = 0
    head: dict[str, Tensor] | None = None


def enter_frame(memory: StreamMemory, pose: FramePose) -> StreamMemory:
    """The memory with which a frame begins: without tracks where it begins a new sequence."""
    last = memory.last
    if last is not None and not starts_sequence(
        _scene(last), _scene(pose), lambda: float(pose.timestamp[0]) - float(last.timestamp[0])
    ):
        return memory
    return StreamMemory(sequence=memory.sequence + 1)


def _scene(pose: FramePose) -> str | None:
    return pose.scene_ids[0] if pose.scene_ids else None


@dataclass(frozen=True)
class Verdict:
    """What a frame decides about its instances, [N] each.

    Attributes:
        tracked: of a tracked class and sound: a candidate for the report.
        newborn: tracked for the first time.  ids: the newborns' included; else -1.
        is_track: born as a track.  age: frames since the score was last above the threshold.
        alive: lives on into the next frame.
    """

    tracked: Tensor
    newborn: Tensor
    ids: Tensor
    is_track: Tensor
    age: Tensor
    alive: Tensor


def judge(
    scores: Tensor,
    labels: Tensor,
    ids: Tensor,
    age: Tensor,
    is_track: Tensor,
    sound: Tensor,
    next_id: Tensor | int,
    thresholds: Thresholds,
) -> Verdict:
    """Assign ids, age tracks and let them die.

    Args:
        scores, labels, ids, age, is_track: [N] of the frame's instances, summarised.
        sound: [N] bool; others are dropped: what broken images leave must not reach other
            instances through attention.
        next_id: of the next newborn.
    """
    of_tracked_class = torch.zeros_like(sound)
    for label in thresholds.tracked_labels:
        of_tracked_class = of_tracked_class | (labels == label)
    tracked = of_tracked_class & sound
    confident = scores > thresholds.score_threshold
    newborn = tracked & (ids < 0)
    # Exact in float32, of which more compilers know the running sum.
    number = newborn.float().cumsum(0).long()
    ids = torch.where(newborn, next_id + number - 1, ids)
    is_track = is_track | (newborn & confident)
    age = torch.where(confident, 0, age + 1)
    alive = tracked & (confident | (is_track & (age < thresholds.max_age_since_update)))
    return Verdict(tracked, newborn, ids, is_track, age, alive)


def live_on(
    instances: TrackInstances,
    memory: StreamMemory,
    pose: FramePose,
    thresholds: Thresholds,
    coder: BoxCoder,
    has_forecast: bool,
) -> tuple[TrackOutput, StreamMemory]:
    """Assign ids, age tracks, keep the living ones for the next frame and report.

    Everything is decided on the host after one transfer, the only one of a frame.

    Args:
        instances: the frame's instances, summarised.
        memory: the frame began with.  pose: of the frame.
        coder: limits of the report.
        has_forecast: whether ``motion_predictions`` mean anything.
    """
    host = _to_host(instances)
    verdict = judge(
        host.scores,
        host.labels,
        host.ids,
        host.age,
        host.is_track,
        host.finite,
        memory.next_id,
        thresholds,
    )
    kept = StreamMemory(
        tracks=_keep(instances, verdict),
        last=pose,
        sequence=memory.sequence,
        next_id=memory.next_id + int(verdict.newborn.sum()),
    )

    candidates = torch.where(verdict.tracked, host.scores, NO_CANDIDATE)
    rows, reported = coder.rank(host.boxes[:, :3], candidates, thresholds.output_threshold)
    rows = rows[reported]
    output = TrackOutput(
        boxes=host.boxes[rows],
        scores=host.scores[rows],
        labels=host.labels[rows],
        track_scores=host.scores[rows],
        obj_ids=[(memory.sequence, i) for i in verdict.ids[rows].tolist()],
        forecasting=host.displacements[rows] if has_forecast else None,
        rows=rows,
        not_finite=int((~host.finite).sum()),
    )
    return output, kept


def _keep(instances: TrackInstances, verdict: Verdict) -> TrackInstances:
    """The rows that live on, in one transfer to the device."""
    rows = verdict.alive.nonzero().flatten()
    notes = torch.stack([rows, verdict.ids[rows], verdict.age[rows], verdict.is_track[rows].long()])
    rows, ids, age, track = upload(notes, instances.obj_idxes.device).unbind()
    return instances.select(rows).replace(
        obj_idxes=ids, disappear_time=age, track_query_mask=track.bool()
    )


def _finite(*values: Tensor) -> Tensor:
    """[N, 1] whether all numbers of an instance are finite."""
    rows = [value.isfinite().flatten(1).all(1, keepdim=True) for value in values]
    return torch.stack(rows).all(0)


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
        instances.labels[:, None],
        instances.obj_idxes[:, None],
        instances.disappear_time[:, None],
        instances.track_query_mask[:, None],
        instances.finite[:, None],
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
        finite=finite[:, 0].bool() & _finite(boxes.float(), flat)[:, 0],
    )
