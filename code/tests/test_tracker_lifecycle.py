"""Births, ids, ageing, deaths, sequences and what is reported."""

import pytest
import torch

from pftrack.models.box_coder import BoxCoder, denormalize_bbox, normalize_bbox
from pftrack.models.trackers.runtime_tracker import RuntimeTracker
from pftrack.models.trackers.track_instances import TrackInstances
from pftrack.structures import FrameBatch


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


def frame(seconds: float, scene: str | None = None) -> FrameBatch:
    return FrameBatch(
        img=torch.zeros(1, 1, 3, 2, 2),
        img_shape=(2, 2),
        lidar2img=torch.eye(4)[None, None],
        l2g=torch.eye(4)[None],
        timestamp=torch.tensor([seconds], dtype=torch.float64),
        scene_ids=[] if scene is None else [scene],
    )


CODER = BoxCoder(max_num=3)


def test_births_ids_and_reports():
    runtime = RuntimeTracker()
    runtime.enter_frame(frame(0))
    sample = instances([0.9, 0.3, 0.1, 0.8], [0, 6, 2, 9])
    output = runtime.update(sample, CODER, has_forecast=False)
    # class 9 (barrier) is not tracked; 0.3 is reported but gives no birth; 0.1 is too low
    assert output.scores.tolist() == pytest.approx([0.9, 0.3])
    assert output.obj_ids == [(1, 0), (1, 1)] and output.labels.tolist() == [0, 6]
    assert output.rows.tolist() == [0, 1] and output.forecasting is None
    assert runtime.tracks.obj_idxes.tolist() == [0] and runtime.next_id == 3


def test_a_track_without_detections_ages_and_dies_at_max_age():
    runtime = RuntimeTracker(max_age_since_update=3)
    runtime.enter_frame(frame(0))
    runtime.update(instances([0.9], [0]), CODER, False)
    ages = []
    while runtime.tracks is not None and len(runtime.tracks):
        runtime.update(instances([0.01], [0], runtime.tracks), CODER, False)
        ages += runtime.tracks.disappear_time.tolist()
    assert ages == [1, 2]


def test_a_confident_score_makes_a_track_young_again():
    runtime = RuntimeTracker(max_age_since_update=3)
    runtime.enter_frame(frame(0))
    runtime.update(instances([0.9], [0]), CODER, False)
    runtime.update(instances([0.1], [0], runtime.tracks), CODER, False)
    output = runtime.update(instances([0.8], [0], runtime.tracks), CODER, False)
    assert runtime.tracks.disappear_time.tolist() == [0] and output.obj_ids == [(1, 0)]


def test_a_track_that_leaves_the_tracking_classes_is_dropped_at_once():
    runtime = RuntimeTracker(max_age_since_update=9)
    runtime.enter_frame(frame(0))
    runtime.update(instances([0.9], [0]), CODER, False)
    runtime.update(instances([0.9], [8], runtime.tracks), CODER, False)
    assert len(runtime.tracks) == 0


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
    runtime, seen = RuntimeTracker(), []
    for seconds, scene in frames:
        starts = runtime.enter_frame(frame(seconds, scene))
        assert starts == (not seen or seen[-1] != runtime.sequence)
        seen.append(runtime.sequence)
    assert seen == sequences


def test_reset_starts_counting_again():
    runtime = RuntimeTracker()
    runtime.enter_frame(frame(0))
    runtime.update(instances([0.9], [0]), CODER, False)
    runtime.reset()
    assert runtime.tracks is None and runtime.enter_frame(frame(1)) and runtime.sequence == 1


def test_the_report_is_the_best_inside_the_range():
    boxes = torch.zeros(5, 9)
    boxes[4, 0] = 70.0
    rows = CODER.select(boxes, torch.tensor([0.3, 0.5, 0.4, 0.25, 0.9]), 0.2)
    assert rows.tolist() == [1, 2]  # the best three are 4 (outside), 1 and 2


def test_codes_and_boxes_are_inverse():
    torch.manual_seed(0)
    boxes = torch.rand(7, 9) + 0.5
    torch.testing.assert_close(denormalize_bbox(normalize_bbox(boxes)), boxes)
