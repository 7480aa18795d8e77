"""Births, ids, ageing, deaths, sequences and what is reported."""

import pytest
import torch

from pftrack.models.box_coder import BoxCoder, denormalize_bbox, normalize_bbox
from pftrack.models.trackers.life_cycle import (
    StreamMemory,
    Thresholds,
    enter_frame,
    live_on,
)
from pftrack.models.trackers.track_instances import TrackInstances
from pftrack.structures import FramePose


def instances(scores: list[float], labels: list[int], tracks: TrackInstances | None = None):
    """Fresh queries in front of ``tracks``, with the given scores and classes."""
    fresh = len(scores) - (0 if tracks is None else len(tracks))
    sample = TrackInstances.empty(
        torch.rand(fresh, 3), torch.zeros(fresh, 4), torch.zeros(fresh, 4), 10, 3, 4
    )
    if tracks is not None:
        sample = TrackInstances.cat([sample, tracks])
    logits = torch.nn.functional.one_hot(torch.tensor(labels), 10).float()
    return sample.replace(state=sample.state.replace(scores=torch.tensor(scores), logits=logits))


def pose(seconds: float, scene: str | None = None) -> FramePose:
    return FramePose(
        l2g=torch.eye(4)[None],
        timestamp=torch.tensor([seconds], dtype=torch.float64),
        scene_ids=() if scene is None else (scene,),
    )


CODER = BoxCoder(max_num=3)
START = enter_frame(StreamMemory(), pose(0))


def live(sample, memory=START, **thresholds):
    return live_on(sample, memory, pose(0), Thresholds(**thresholds), CODER, has_forecast=False)


def test_births_ids_and_reports():
    sample = instances([0.9, 0.3, 0.1, 0.8], [0, 6, 2, 9])
    output, memory = live(sample)
    # class 9 (barrier) is not tracked; 0.3 is reported but gives no birth; 0.1 is too low
    assert output.scores.tolist() == pytest.approx([0.9, 0.3])
    assert output.obj_ids == [(1, 0), (1, 1)] and output.labels.tolist() == [0, 6]
    assert output.rows.tolist() == [0, 1] and output.forecasting is None
    assert memory.tracks.obj_idxes.tolist() == [0] and memory.next_id == 3


def test_a_track_without_detections_ages_and_dies_at_max_age():
    _, memory = live(instances([0.9], [0]))
    ages = []
    while len(memory.tracks):
        sample = instances([0.01], [0], memory.tracks)
        _, memory = live(sample, memory, max_age_since_update=3)
        ages += memory.tracks.disappear_time.tolist()
    assert ages == [1, 2]


def test_a_confident_score_makes_a_track_young_again():
    _, memory = live(instances([0.9], [0]))
    _, memory = live(instances([0.1], [0], memory.tracks), memory, max_age_since_update=3)
    output, memory = live(instances([0.8], [0], memory.tracks), memory, max_age_since_update=3)
    assert memory.tracks.disappear_time.tolist() == [0] and output.obj_ids == [(1, 0)]


def test_a_track_that_leaves_the_tracking_classes_is_dropped_at_once():
    _, memory = live(instances([0.9], [0]))
    _, memory = live(instances([0.9], [8], memory.tracks), memory, max_age_since_update=9)
    assert len(memory.tracks) == 0


@pytest.mark.parametrize(
    ("frames", "sequences"),
    [
        ([(0, None), (9.9, None), (25, None)], [1, 1, 2]),
        ([(0, "a"), (0.5, "b"), (1, "b")], [1, 2, 2]),
        ([(0, "a"), (60, "a")], [1, 1]),
        ([(50, None), (0, None)], [1, 2]),
    ],
)
def test_sequences_begin_by_scene_or_time_gap(frames, sequences):
    memory, seen = StreamMemory(), []
    for seconds, scene in frames:
        before = memory
        begun = enter_frame(memory, pose(seconds, scene))
        assert memory is before  # a value: entering a frame leaves it as it was
        assert (begun.tracks is None) == (not seen or seen[-1] != begun.sequence)
        seen.append(begun.sequence)
        _, memory = live_on(
            instances([0.9], [0]), begun, pose(seconds, scene), Thresholds(), CODER, False
        )
    assert seen == sequences


def test_memory_and_thresholds_cannot_be_changed():
    for value, name in ((StreamMemory(), "next_id"), (Thresholds(), "score_threshold")):
        with pytest.raises(AttributeError):
            setattr(value, name, 1)


def test_the_report_is_the_best_inside_the_range():
    boxes = torch.zeros(5, 9)
    boxes[4, 0] = 70.0
    rows, reported = CODER.rank(boxes[:, :3], torch.tensor([0.3, 0.5, 0.4, 0.25, 0.9]), 0.2)
    assert rows.tolist() == [4, 1, 2]
    assert reported.tolist() == [False, True, True]  # 4 is outside


def test_codes_and_boxes_are_inverse():
    torch.manual_seed(0)
    boxes = torch.rand(7, 9) + 0.5
    torch.testing.assert_close(denormalize_bbox(normalize_bbox(boxes)), boxes)
