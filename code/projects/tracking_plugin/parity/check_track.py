"""Golden files d_: tracking over a sequence and the beginning of another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from projects.tracking_plugin.models.trackers.runtime_tracker import TrackOutput
from projects.tracking_plugin.models.trackers.track_instances import TrackInstances
from projects.tracking_plugin.parity.compare import GoldenFile, Row
from projects.tracking_plugin.parity.inputs import clip_images
from projects.tracking_plugin.parity.models import reference_model
from projects.tracking_plugin.structures import FrameBatch

STRIDE = 16  # of the fields whose names end in _s


@torch.no_grad()
def check(golden: GoldenFile) -> Iterator[Row]:
    """Reports, live tracks, ids (up to renaming), births and deaths of every frame."""
    model = reference_model(golden)
    runtime, limits = model.runtime_tracker, golden.meta["thresholds"]
    model.runtime_tracker = replace(
        runtime,
        score_threshold=limits["score"],
        output_threshold=limits["output"],
        record_threshold=limits["record"],
        max_age_since_update=limits["max_age_since_update"],
    )
    frames = _frames(golden)
    renamed = _Renaming()
    for t, frame in enumerate(frames):
        output = model.forward_track(frame)
        tracks = model.runtime_tracker.tracks
        reference = {
            name.removeprefix(f"f{t}."): array
            for name, array in golden.arrays.items()
            if name.startswith(f"f{t}.")
        }
        yield Row(f"f{t}.n_live", np.int64(len(tracks)), reference["n_live"])
        yield Row(f"f{t}.n_reported", len(output.scores), np.int64(len(reference["scores_3d"])))
        if len(tracks) != reference["n_live"] or len(output.scores) != len(reference["scores_3d"]):
            break
        yield Row(
            f"f{t}.current_id", np.int64(model.runtime_tracker.next_id), reference["current_id"]
        )
        yield from _report_rows(t, output, reference, renamed)
        following = frames[t + 1] if t + 1 < len(frames) else None
        moved = tracks if following is None else model.move(tracks, frame, following)
        yield from _live_rows(t, tracks, moved, reference, renamed)
    model.runtime_tracker = runtime


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


def _report_rows(
    t: int, output: TrackOutput, reference: dict[str, np.ndarray], renamed: _Renaming
) -> Iterator[Row]:
    """What is reported. Rows whose scores tie within float noise may come in another order."""
    boxes = output.boxes.clone()
    boxes[:, 2] -= boxes[:, 5] / 2  # the reference stores the bottom centre
    order = _same_rows(boxes, output.scores, reference)
    yield Row(f"f{t}.scores_3d", output.scores, reference["scores_3d"])
    yield Row(f"f{t}.track_scores", output.track_scores, reference["track_scores"])
    yield Row(f"f{t}.boxes_3d", boxes[order], reference["boxes_3d"])
    yield Row(f"f{t}.labels_3d", output.labels[order], reference["labels_3d"])
    if "forecasting" in reference and output.forecasting is not None:
        yield Row(f"f{t}.forecasting", output.forecasting[order], reference["forecasting"])
    pairs = zip(reference["track_seq"].tolist(), reference["track_ids"].tolist(), strict=True)
    names = list(pairs)
    ids = renamed([output.obj_ids[i] for i in order.tolist()], names)
    yield Row(f"f{t}.track_ids", np.array(ids).reshape(-1, 2), np.array(names).reshape(-1, 2))


def _same_rows(boxes: Tensor, scores: Tensor, reference: dict[str, np.ndarray]) -> Tensor:
    """For every reference row our row of the nearest box, among rows of (nearly) the same score."""
    centers = torch.cdist(torch.from_numpy(reference["boxes_3d"][:, :3]), boxes[:, :3])
    apart = torch.from_numpy(reference["scores_3d"])[:, None] - scores
    cost = centers + (apart.abs() > 1e-3) * 1e6
    from scipy.optimize import linear_sum_assignment

    return torch.from_numpy(linear_sum_assignment(cost.numpy())[1])


def _live_rows(
    t: int,
    tracks: TrackInstances,
    moved: TrackInstances,
    reference: dict[str, np.ndarray],
    renamed: _Renaming,
) -> Iterator[Row]:
    """The tracks that live on.

    The reference recorded ``bboxes`` by reference, so that its next frame's motion shows in it; the
    last frame of a sequence shows the state itself.
    """
    state = tracks.state
    bboxes = _nearer(state.bboxes, moved.state.bboxes, reference["live.bboxes"])
    fields = {
        "reference_points": state.reference_points,
        "disappear_time": tracks.disappear_time,
        "scores": state.scores,
        "bboxes": bboxes,
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
    for name, value in fields.items():
        if f"live.{name}" in reference:
            yield Row(f"f{t}.live.{name}", value, reference[f"live.{name}"])
    sequence = int(reference["track_seq"][0]) if len(reference["track_seq"]) else 0
    names = [(sequence, i) for i in reference["live.obj_idxes"].tolist()]
    ids = renamed([(sequence, i) for i in tracks.obj_idxes.tolist()], names)
    yield Row(f"f{t}.live.obj_idxes", np.array(ids).reshape(-1, 2), np.array(names).reshape(-1, 2))


def _nearer(a: Tensor, b: Tensor, reference: np.ndarray) -> Tensor:
    target = torch.from_numpy(reference)
    return a if (a - target).abs().sum() <= (b - target).abs().sum() else b
