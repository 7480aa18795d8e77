"""Several streams in one backbone call: the tracks of each as if it were alone.

To the last digits: for another number of images a CPU may add in another order.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from street_frames import config, frame
from tiny_tracker import detr3d, petrv2, tracker_config

from pftrack import Frame, Tracker, load_tracker
from pftrack.boxes import Boxes
from pftrack.errors import UserError
from pftrack.tracking.streams import step_together

LENGTHS = {"a": 4, "b": 2, "c": 3}


@pytest.fixture(scope="module", params=["petr", "detr3d", "petrv2"])
def tracker(request: pytest.FixtureRequest) -> Tracker:
    changes = {"petr": {}, "detr3d": detr3d(), "petrv2": petrv2()}[request.param]
    cfg = config()
    cfg.model = tracker_config(**changes)
    torch.manual_seed(0)
    tracker = load_tracker(cfg, device="cpu")
    with torch.no_grad():  # every instance a car
        tracker.model.STReasoner.track_cls[-1].weight.zero_()
        tracker.model.STReasoner.track_cls[-1].bias.fill_(-5.0)[0] = 2.0
    return tracker


def streams() -> dict[str, list[Frame]]:
    return {
        name: [frame(t / 2, name, seed=10 * ord(name) + t) for t in range(length)]
        for name, length in LENGTHS.items()
    }


def assert_same(ours: Boxes, reference: Boxes) -> None:
    assert ours.ids == reference.ids and len(ours) > 0
    for name, value in vars(reference).items():
        if not isinstance(value, np.ndarray):
            continue
        if value.dtype.kind == "f":
            np.testing.assert_allclose(getattr(ours, name), value, atol=1e-3, err_msg=name)
        else:
            np.testing.assert_array_equal(getattr(ours, name), value, err_msg=name)


@pytest.mark.slow
def test_streams_of_unequal_length_track_as_if_alone(tracker: Tracker) -> None:
    alone: dict[str, list[Boxes]] = {}
    seen: dict[int, list[int]] = {}
    for name, frames in streams().items():
        one = tracker.another_stream()
        alone[name] = [one.step_boxes(f) for f in frames]
    trackers = {name: tracker.another_stream() for name in LENGTHS}
    together: dict[str, list[Boxes]] = {name: [] for name in LENGTHS}
    for t in range(max(LENGTHS.values())):
        frames = {name: f[t] for name, f in streams().items() if t < len(f)}
        seen[t] = []
        observe = partial(lambda known, output, batch: known.append(len(output.scores)), seen[t])
        boxes = step_together(
            [trackers[name] for name in frames],
            list(frames.values()),
            observe=[observe] * len(frames),
        )
        for name, found in zip(frames, boxes, strict=True):
            together[name].append(found)
    assert {t: len(reports) for t, reports in seen.items()} == {0: 3, 1: 3, 2: 2, 3: 1}
    for name, length in LENGTHS.items():
        assert len(together[name]) == length
        for ours, reference in zip(together[name], alone[name], strict=True):
            assert_same(ours, reference)


def test_one_backbone_call_for_all(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = type(tracker.model).extract_feats

    def extract(self, img):
        calls.append((tuple(img.shape), img.movedim(2, -1).is_contiguous()))
        return real(self, img)

    monkeypatch.setattr(type(tracker.model), "extract_feats", extract)
    trackers = [tracker.another_stream() for _ in range(2)]
    step_together(trackers, [frame(0.0, "a"), frame(0.0, "b")])
    assert calls == [((2, 6, 3, 64, 96), True)]
    assert step_together([], []) == []


def test_another_stream_has_the_thresholds_of_the_first(tracker: Tracker) -> None:
    assert tracker.another_stream().thresholds is tracker.thresholds
    assert tracker.another_stream().model is tracker.model


def test_what_does_not_go_together_is_one_line(tracker: Tracker) -> None:
    frames = [frame(0.0, "a"), frame(0.0, "b")]
    other = load_tracker(config(), device="cpu")
    with pytest.raises(UserError, match="share one model and precision"):
        step_together([tracker, other], frames)
    rough = tracker.another_stream()
    rough.precision = "bf16"
    with pytest.raises(UserError, match="share one model and precision"):
        step_together([tracker, rough], frames)
    with pytest.raises(UserError, match=r"\[5, 3, 64, 96\] and \[6, 3, 64, 96\]"):
        step_together(
            [tracker.another_stream() for _ in frames], [frames[0], frame(0.0, "b", cameras=5)]
        )
