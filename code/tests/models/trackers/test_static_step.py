"""The step of fixed shapes tracks as the ordinary tracker does, in every kind of configuration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_tracker import HEIGHT, WIDTH, clip, detr3d, petrv2, tiny_tracker

from laboratory.parity.weights import fill
from pftrack.errors import UserError
from pftrack.models.layers.frustum import invert_projection
from pftrack.models.trackers.life_cycle import StreamMemory
from pftrack.models.trackers.static_step import StaticStep
from pftrack.structures import FrameBatch

MEAN, STD = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)
SHAPE = (HEIGHT - 4, WIDTH - 6)
FRAMES = 6


MODELS: dict[str, dict[str, Any]] = {
    "petr with reasoning": {},
    "petrv2 with reasoning": petrv2(),
    "petr by velocity": {"reasoning": False, "motion_prediction_ref_update": False},
    "detr3d by velocity": {"reasoning": False, **detr3d()},
    "detr3d with reasoning": detr3d(),
    "detector": {"reasoning": False, "motion_prediction": False, "if_update_ego": False},
}


def stream(count: int, seed: int = 0) -> list[tuple[FrameBatch, torch.Tensor]]:
    """Frames of two sequences, normalised and as uint8 images [V, H, W, 3]."""
    batch = clip([[0] * count], seed=seed)
    generator = torch.Generator().manual_seed(seed)
    size = (1, count, 6, 3, HEIGHT, WIDTH)
    batch.img = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    batch.img_shape, batch.mean, batch.std = SHAPE, MEAN, STD
    batch.timestamp = batch.timestamp.clone()
    batch.timestamp[:, count - 2 :] += 100  # a new sequence
    images = batch.img[0].permute(0, 1, 3, 4, 2)
    normal = batch.normalized()
    return [(normal.frame(t), images[t]) for t in range(count)]


def inputs(
    step: StaticStep, frame: FrameBatch, images: torch.Tensor, last: FrameBatch | None
) -> dict[str, torch.Tensor]:
    """The static step's inputs for a frame after ``last``; None: a new sequence."""
    before = last or frame
    inverse = invert_projection(frame.lidar2img[0])
    motion = torch.linalg.inv(frame.l2g[0].double()) @ before.l2g[0].double()
    return {
        "images": images,
        "calibration": inverse if step.calibration == "img2lidar" else frame.lidar2img[0].float(),
        "ego_motion": motion.float(),
        "seconds": (frame.timestamp - before.timestamp).float(),
        "new_sequence": torch.tensor([last is None]),
    }


def lively_tracker(**changes: Any) -> Any:
    """A small tracker whose queries do not all say the same."""
    model = tiny_tracker(**changes).eval()
    fill(model)
    return model


def ambitious(model: Any, share: float = 0.3) -> Any:
    """Thresholds among the scores of a random network's first frame: some are born, some die."""
    frame = stream(3)[0][0]
    every = replace(
        model.thresholds,
        output_threshold=-1.0,
        record_threshold=-1.0,
        tracked_labels=tuple(range(10)),
    )
    scores = model.forward_track(frame, thresholds=every)[0].scores
    level = float(scores.quantile(1 - share))
    return replace(
        every,
        output_threshold=level * 0.9,
        score_threshold=level,
        record_threshold=level,
    )


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_the_same_tracks_as_the_ordinary_tracker(name: str) -> None:
    model = lively_tracker(**MODELS[name])
    thresholds = ambitious(model)
    step = StaticStep(model, SHAPE, MEAN, STD, thresholds, slots=80)
    kept, memory, last, seen = StreamMemory(), None, None, 0
    for frame, images in stream(FRAMES):
        output, kept = model.forward_track(frame, kept, thresholds)
        starts = last is None or frame.timestamp - last.timestamp > 10
        given = inputs(step, frame, images, None if starts else last)
        report, memory = step(given, memory or step.empty_memory(given))
        last = frame
        rows = report["reported"]
        order = torch.argsort(report["rows"][rows])  # scores may tie
        expected = torch.argsort(output.rows)
        ids = torch.tensor([number for _, number in output.obj_ids], dtype=torch.long)
        assert report["ids"][rows][order].tolist() == ids[expected].tolist()
        assert report["labels"][rows][order].tolist() == output.labels[expected].tolist()
        for field, mine in (("boxes", output.boxes), ("scores", output.scores)):
            torch.testing.assert_close(
                report[field][rows][order], mine[expected], rtol=1e-4, atol=1e-4
            )
        if output.forecasting is not None:
            torch.testing.assert_close(
                report["forecasting"][rows][order],
                output.forecasting[expected],
                rtol=1e-4,
                atol=1e-4,
            )
        live, tracks = memory["live"], kept.tracks
        assert live.sum() == len(tracks) and report["dropped"].tolist() == [0]
        assert memory["obj_idxes"][live].tolist() == tracks.obj_idxes.tolist()
        assert memory["disappear_time"][live].tolist() == tracks.disappear_time.tolist()
        assert memory["next_id"].tolist() == [kept.next_id]
        torch.testing.assert_close(
            memory["bboxes"][live], tracks.state.bboxes, rtol=1e-4, atol=1e-4
        )
        seen += len(output.scores)
    assert seen > 2 * FRAMES


@torch.no_grad()
def test_nothing_in_an_empty_slot_matters() -> None:
    model = lively_tracker()
    step = StaticStep(model, SHAPE, MEAN, STD, ambitious(model), slots=40)
    (first, images), (second, more) = stream(4)[:2]
    given = inputs(step, first, images, None)
    _, memory = step(given, step.empty_memory(given))
    frame = inputs(step, second, more, first)
    expected, _ = step(frame, memory)
    live = memory["live"]
    assert 0 < live.sum() < len(live)
    spoiled = {
        name: torch.where(live.view(-1, *[1] * (value.dim() - 1)), value, float("nan"))
        if value.is_floating_point()
        else value
        for name, value in memory.items()
    }
    report, _ = step(frame, spoiled)
    for name, value in expected.items():
        assert torch.equal(report[name], value), name


@torch.no_grad()
def test_the_best_tracks_get_the_slots_and_the_others_are_counted() -> None:
    model = lively_tracker()
    thresholds = ambitious(model, share=0.9)
    frame, images = stream(3)[0]
    _, kept = model.forward_track(frame, None, thresholds)
    tracks = kept.tracks
    step = StaticStep(model, SHAPE, MEAN, STD, thresholds, slots=4)
    given = inputs(step, frame, images, None)
    report, memory = step(given, step.empty_memory(given))
    best = tracks.state.scores.topk(4).indices.sort().values
    assert memory["live"].all()
    assert memory["obj_idxes"].tolist() == tracks.obj_idxes[best].tolist()
    assert report["dropped"].tolist() == [len(tracks) - 4] and len(tracks) > 4


def test_a_tracker_has_at_least_one_slot() -> None:
    with pytest.raises(UserError, match="0 slots for tracks: at least 1"):
        StaticStep(tiny_tracker(), SHAPE, MEAN, STD, slots=0)
