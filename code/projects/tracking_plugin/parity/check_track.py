"""Golden files d_: tracking over a sequence and the beginning of another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from projects.tracking_plugin.models.trackers.runtime_tracker import RuntimeTracker, TrackOutput
from projects.tracking_plugin.models.trackers.track_instances import TrackInstances
from projects.tracking_plugin.parity.check_network import NOISE_MARGIN
from projects.tracking_plugin.parity.compare import GoldenFile, Row
from projects.tracking_plugin.parity.inputs import clip_images
from projects.tracking_plugin.parity.models import reference_model
from projects.tracking_plugin.parity.noise import disturbed, noise_generators, replaced
from projects.tracking_plugin.structures import FrameBatch

STRIDE = 16  # of the fields whose names end in _s


@dataclass
class _Run:
    """One way through the sequence; all but the first with inputs disturbed like by rounding."""

    runtime: RuntimeTracker
    generator: torch.Generator | None = None
    output: TrackOutput | None = None
    fields: dict[str, Tensor] | None = None

    @property
    def tracks(self) -> TrackInstances:
        """The tracks that live on after the frame."""
        assert self.runtime.tracks is not None
        return self.runtime.tracks

    def structure(self) -> tuple[int, list[int]]:
        """Which tracks live, by their ages."""
        ages = self.tracks.disappear_time.tolist()
        return len(ages), ages


@torch.no_grad()
def check(golden: GoldenFile) -> Iterator[Row]:
    """Reports, live tracks, ids (up to renaming), births and deaths of every frame.

    Each entry is allowed its rounding noise (see :mod:`noise`). Where that noise decides which
    tracks live, so that the disturbed runs part, the rest of the sequence is not compared; every
    sequence starts afresh.
    """
    model = reference_model(golden)
    runtime, limits = model.runtime_tracker, golden.meta["thresholds"]
    thresholds = {
        "score_threshold": limits["score"],
        "output_threshold": limits["output"],
        "record_threshold": limits["record"],
        "max_age_since_update": limits["max_age_since_update"],
    }
    runs = [
        _Run(replace(runtime, **thresholds), generator)
        for generator in (None, *noise_generators(model))
    ]
    frames, renamed, comparable = _frames(golden), _Renaming(), True
    try:
        for t, frame in enumerate(frames):
            sequence = runs[0].runtime.sequence
            following = frames[t + 1] if t + 1 < len(frames) else None
            _track_frame(model, runs, frame, following)
            comparable |= runs[0].runtime.sequence != sequence
            comparable &= all(run.structure() == runs[0].structure() for run in runs)
            if comparable:
                yield from _frame_rows(t, runs, golden, renamed)
            else:
                yield Row(f"f{t} not compared: rounding decides who lives", True, True)
    finally:
        model.runtime_tracker = runtime


def _track_frame(
    model: Any, runs: list[_Run], frame: FrameBatch, following: FrameBatch | None
) -> None:
    """One frame of every run, on the same features."""
    feats = model.extract_feats(frame.img)
    for run in runs:
        model.runtime_tracker = run.runtime
        with replaced(model, "extract_feats", lambda img: feats), disturbed(model, run.generator):
            run.output = model.forward_track(frame)
        tracks = run.tracks
        moved = tracks if following is None else model.move(tracks, frame, following)
        run.fields = _live_fields(tracks, moved)


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


def _frame_rows(t: int, runs: list[_Run], golden: GoldenFile, renamed: _Renaming) -> Iterator[Row]:
    """Everything about one frame."""
    main, others = runs[0], runs[1:]
    assert main.output is not None and main.fields is not None
    reference = {
        name.removeprefix(f"f{t}."): array
        for name, array in golden.arrays.items()
        if name.startswith(f"f{t}.")
    }
    tracks, next_id = main.tracks, main.runtime.next_id
    yield Row(f"f{t}.n_live", np.int64(len(tracks)), reference["n_live"])
    reported = len(main.output.scores)
    yield Row(f"f{t}.n_reported", np.int64(reported), np.int64(len(reference["scores_3d"])))
    if len(tracks) != reference["n_live"] or reported != len(reference["scores_3d"]):
        return
    spread = max((abs(run.runtime.next_id - next_id) for run in others), default=0)
    yield Row(
        f"f{t}.current_id", np.int64(next_id), reference["current_id"], noise=NOISE_MARGIN * spread
    )
    yield from _report_rows(t, runs, reference, renamed)
    yield from _live_rows(t, runs, reference, renamed)


def _report_rows(
    t: int, runs: list[_Run], reference: dict[str, np.ndarray], renamed: _Renaming
) -> Iterator[Row]:
    """What is reported. Rows whose scores tie within rounding may come in another order."""
    output = runs[0].output
    assert output is not None
    boxes = output.boxes.clone()
    boxes[:, 2] -= boxes[:, 5] / 2  # the reference stores the bottom centre
    noise = _report_noise(runs)
    unsettled = noise["boxes"].isinf().any(1)
    order = _same_rows(boxes, output.scores, noise["scores"], reference)
    for name, scores in (("scores_3d", output.scores), ("track_scores", output.track_scores)):
        yield Row(f"f{t}.{name}", scores[order], reference[name], noise=noise["scores"][order])
    yield Row(f"f{t}.boxes_3d", boxes[order], reference["boxes_3d"], noise=noise["boxes"][order])
    forgiven = torch.where(unsettled, torch.inf, 0.0)[order]
    yield Row(f"f{t}.labels_3d", output.labels[order], reference["labels_3d"], noise=forgiven)
    if "forecasting" in reference and output.forecasting is not None:
        yield Row(f"f{t}.forecasting", output.forecasting[order], reference["forecasting"])
    names = list(zip(reference["track_seq"].tolist(), reference["track_ids"].tolist(), strict=True))
    settled = (~unsettled[order]).tolist()
    ours = [output.obj_ids[i] for i, keep in zip(order.tolist(), settled, strict=True) if keep]
    names = [name for name, keep in zip(names, settled, strict=True) if keep]
    ids = renamed(ours, names)
    yield Row(f"f{t}.track_ids", np.array(ids).reshape(-1, 2), np.array(names).reshape(-1, 2))


def _report_noise(runs: list[_Run]) -> dict[str, Tensor]:
    """How far each reported row moves in the disturbed runs; infinite where it is not reported or
    changes its class."""
    output = runs[0].output
    assert output is not None
    noise = {"scores": torch.zeros_like(output.scores), "boxes": torch.zeros_like(output.boxes)}
    for run in runs[1:]:
        other = run.output
        assert other is not None
        position = {row: i for i, row in enumerate(other.rows.tolist())}
        for i, row in enumerate(output.rows.tolist()):
            j = position.get(row)
            if j is None or other.labels[j] != output.labels[i]:
                noise["scores"][i] = noise["boxes"][i] = torch.inf
                continue
            for name, ours, theirs in (
                ("scores", output.scores, other.scores),
                ("boxes", output.boxes, other.boxes),
            ):
                change = NOISE_MARGIN * (theirs[j] - ours[i]).abs().amax()
                noise[name][i] = torch.maximum(noise[name][i], change)
    return noise


def _same_rows(
    boxes: Tensor, scores: Tensor, noise: Tensor, reference: dict[str, np.ndarray]
) -> Tensor:
    """For every reference row our row of the nearest box, among rows of (nearly) the same score."""
    from scipy.optimize import linear_sum_assignment

    centers = torch.cdist(torch.from_numpy(reference["boxes_3d"][:, :3]), boxes[:, :3])
    apart = (torch.from_numpy(reference["scores_3d"])[:, None] - scores).abs()
    cost = centers + (apart > 1e-3 + noise) * 1e6
    return torch.from_numpy(linear_sum_assignment(cost.numpy())[1])


def _live_fields(tracks: TrackInstances, moved: TrackInstances) -> dict[str, Tensor]:
    """The recorded fields of the tracks that live on."""
    state = tracks.state
    return {
        "reference_points": state.reference_points,
        "disappear_time": tracks.disappear_time,
        "scores": state.scores,
        "bboxes": state.bboxes,
        "bboxes.moved": moved.state.bboxes,
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


def _live_rows(
    t: int, runs: list[_Run], reference: dict[str, np.ndarray], renamed: _Renaming
) -> Iterator[Row]:
    """The tracks that live on.

    The reference recorded ``bboxes`` by reference, so that its next frame's motion shows in it; the
    last frame of a sequence shows the state itself.
    """
    fields, tracks = runs[0].fields, runs[0].tracks
    assert fields is not None
    for name, recorded in reference.items():
        field = name.removeprefix("live.")
        if field == name or field == "obj_idxes":
            continue
        if field == "bboxes":
            choices = ("bboxes", "bboxes.moved")
            field = min(choices, key=lambda c: float(np.abs(fields[c].numpy() - recorded).sum()))
        ours = fields[field]
        noise = torch.zeros(())
        for run in runs[1:]:
            assert run.fields is not None
            change = (run.fields[field].double() - ours.double()).abs()
            # By row: what disturbs one entry of an instance disturbs them all.
            change = change.flatten(1).amax(1) if change.dim() > 1 else change
            change = change.view(-1, *[1] * (ours.dim() - 1))
            noise = torch.maximum(noise, NOISE_MARGIN * change)
        yield Row(f"f{t}.{name}", ours, recorded, noise=noise if len(runs) > 1 else None)
    sequence = runs[0].runtime.sequence
    names = [(sequence, i) for i in reference["live.obj_idxes"].tolist()]
    ids = renamed([(sequence, i) for i in tracks.obj_idxes.tolist()], names)
    yield Row(f"f{t}.live.obj_idxes", np.array(ids).reshape(-1, 2), np.array(names).reshape(-1, 2))
