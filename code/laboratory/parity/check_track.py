"""Golden files d_: tracking over a sequence and the beginning of another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from laboratory.parity.arithmetic import arithmetic_of
from laboratory.parity.compare import GoldenFile, Row
from laboratory.parity.inputs import clip_images
from laboratory.parity.models import reference_model
from laboratory.parity.streams import OrdinaryStream, StaticStream
from pftrack.models.trackers.life_cycle import StreamMemory, TrackOutput
from pftrack.models.trackers.track_instances import TrackInstances
from pftrack.structures import FrameBatch

STRIDE = 16  # of the fields whose names end in _s


@torch.no_grad()
def check(golden: GoldenFile) -> Iterator[Row]:
    """Reports, live tracks, ids (up to renaming), births and deaths of every frame, by the ordinary
    tracker and by the static step."""
    model, frames = reference_model(golden), _frames(golden)
    limits = golden.meta["thresholds"]
    thresholds = replace(
        model.thresholds,
        score_threshold=limits["score"],
        output_threshold=limits["output"],
        record_threshold=limits["record"],
        max_age_since_update=limits["max_age_since_update"],
    )
    streams: dict[str, Any] = {"": OrdinaryStream, "static.": StaticStream}
    for prefix, stream in streams.items():
        step, renamed = stream(model, thresholds), _Renaming()
        for t, frame in enumerate(frames):
            output, memory = step(frame)
            moved = memory.tracks
            assert moved is not None
            if t + 1 < len(frames):
                with arithmetic_of(model):
                    moved = model.move(moved, frame.pose, frames[t + 1].pose)
            reference = {
                name.removeprefix(f"f{t}."): array
                for name, array in golden.arrays.items()
                if name.startswith(f"f{t}.")
                and name.removeprefix(f"f{t}.") not in stream.not_remembered
            }
            for row in _frame_rows(memory, output, moved, reference, renamed):
                yield row._replace(name=f"{prefix}f{t}.{row.name}")


def _frames(golden: GoldenFile) -> list[FrameBatch]:
    arrays, image = golden.arrays, golden.meta["image"]
    img = torch.from_numpy(clip_images(image))
    return [
        FrameBatch(
            img=img[:, t],
            img_shape=tuple(image["img_shape"]),
            lidar2img=torch.from_numpy(arrays["lidar2img"])[None],
            l2g=torch.from_numpy(arrays["l2g"][t])[None],
            timestamp=torch.from_numpy(arrays["timestamp"][t : t + 1]),
        )
        for t in range(image["frames"])
    ]


class _Renaming:
    """One-to-one correspondence of (sequence, id) pairs, learned as pairs come along."""

    def __init__(self) -> None:
        self._to_reference: dict[tuple[int, int], tuple[int, int]] = {}
        self._to_ours: dict[tuple[int, int], tuple[int, int]] = {}

    def __call__(
        self, ours: list[tuple[int, int]], reference: list[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """Our ids in the reference's names; (-1, -1) where an id breaks the correspondence."""
        names = []
        for own, name in zip(ours, reference, strict=True):
            known = self._to_reference.setdefault(own, name)
            names.append(known if self._to_ours.setdefault(name, own) == own else (-1, -1))
        return names


def _frame_rows(
    memory: StreamMemory,
    output: TrackOutput,
    moved: TrackInstances,
    reference: dict[str, np.ndarray],
    renamed: _Renaming,
) -> Iterator[Row]:
    """Everything about one frame; nothing more once the numbers of rows differ."""
    tracks = memory.tracks
    assert tracks is not None
    yield Row("n_live", np.int64(len(tracks)), reference["n_live"])
    reported = len(reference["scores_3d"])
    yield Row("n_reported", np.int64(len(output.scores)), np.int64(reported))
    if len(tracks) != reference["n_live"] or len(output.scores) != reported:
        return
    yield Row("current_id", np.int64(memory.next_id), reference["current_id"])
    yield from _report_rows(output, reference, renamed)
    yield from _live_rows(memory.sequence, tracks, moved, reference, renamed)


def _report_rows(
    output: TrackOutput, reference: dict[str, np.ndarray], renamed: _Renaming
) -> Iterator[Row]:
    """What is reported. Rows whose scores tie within rounding may come in another order."""
    boxes = output.boxes.clone()
    boxes[:, 2] -= boxes[:, 5] / 2  # the reference stores the bottom centre
    order = _same_rows(boxes, output.scores, reference)
    yield Row("scores_3d", output.scores[order], reference["scores_3d"])
    yield Row("track_scores", output.track_scores[order], reference["track_scores"])
    yield Row("boxes_3d", boxes[order], reference["boxes_3d"])
    yield Row("labels_3d", output.labels[order], reference["labels_3d"])
    if "forecasting" in reference and output.forecasting is not None:
        yield Row("forecasting", output.forecasting[order], reference["forecasting"])
    names = list(zip(reference["track_seq"].tolist(), reference["track_ids"].tolist(), strict=True))
    ids = renamed([output.obj_ids[i] for i in order.tolist()], names)
    yield Row("track_ids", np.array(ids).reshape(-1, 2), np.array(names).reshape(-1, 2))


def _same_rows(boxes: Tensor, scores: Tensor, reference: dict[str, np.ndarray]) -> Tensor:
    """For every reference row our row of the nearest box, among rows of (nearly) the same score."""
    from scipy.optimize import linear_sum_assignment

    theirs, ours = torch.from_numpy(reference["boxes_3d"]).double(), boxes.double()
    # Exactly: by matrix products, distances of neighbouring boxes would drown in rounding.
    distances = torch.cdist(theirs, ours, compute_mode="donot_use_mm_for_euclid_dist")
    apart = (torch.from_numpy(reference["scores_3d"])[:, None] - scores).abs()
    cost = distances + (apart > 1e-3) * 1e6
    return torch.from_numpy(linear_sum_assignment(cost.numpy())[1])


def _live_rows(
    sequence: int,
    tracks: TrackInstances,
    moved: TrackInstances,
    reference: dict[str, np.ndarray],
    renamed: _Renaming,
) -> Iterator[Row]:
    """The tracks that live on.

    The reference recorded ``bboxes`` by reference, so that its next frame's motion shows in it; the
    last frame of a sequence shows the state itself.
    """
    fields = _live_fields(tracks)
    for name, recorded in reference.items():
        field = name.removeprefix("live.")
        if field == name or field == "obj_idxes":
            continue
        ours = fields[field]
        if field == "bboxes" and not torch.allclose(ours, torch.from_numpy(recorded), atol=0.01):
            ours = moved.state.bboxes
        yield Row(name, ours, recorded)
    names = [(sequence, i) for i in reference["live.obj_idxes"].tolist()]
    ids = renamed([(sequence, i) for i in tracks.obj_idxes.tolist()], names)
    yield Row("live.obj_idxes", np.array(ids).reshape(-1, 2), np.array(names).reshape(-1, 2))


def _live_fields(tracks: TrackInstances) -> dict[str, Tensor]:
    """The recorded fields of the tracks that live on."""
    state = tracks.state
    return {
        "reference_points": state.reference_points,
        "disappear_time": tracks.disappear_time,
        "scores": state.scores,
        "bboxes": state.bboxes,
        "track_query_mask": tracks.track_query_mask,
        "motion_predictions": state.motion_predictions,
        "fut_xyz": tracks.fut_xyz,
        "hist_padding_masks": tracks.hist_padding_masks,
        "hist_xyz": tracks.hist_xyz,
        "logits": state.logits,
        "query_feats_s": state.query_feats[..., ::STRIDE],
        "query_embeds_s": state.query_embeds[..., ::STRIDE],
        "hist_embeds_s": tracks.hist_embeds[..., ::STRIDE],
    }
