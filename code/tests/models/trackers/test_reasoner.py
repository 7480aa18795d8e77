"""Past and future reasoning on the track state."""

import pytest
import torch
from tiny_tracker import FUTURE, PC_RANGE, D, tiny_tracker

from pftrack.errors import UserError
from pftrack.geometry import denormalize_points
from pftrack.models.box_coder import code_centers
from pftrack.models.trackers.reasoner import SpatialTemporalReasoner
from pftrack.models.trackers.track_instances import TrackInstances

N = 5


@pytest.fixture(scope="module")
def reasoner() -> SpatialTemporalReasoner:
    return tiny_tracker().eval().STReasoner


def instances(seed: int = 0) -> TrackInstances:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(N, *shape, generator=generator)

    empty = TrackInstances.empty(random(3), random(D), random(D), 10, hist_len=3, fut_len=FUTURE)
    cache = empty.cache.replace(
        reference_points=random(3),
        query_feats=random(D),
        query_embeds=random(D),
        bboxes=random(10),
        scores=random(),
        logits=random(10),
        motion_predictions=random(FUTURE, 3),
    )
    return empty.replace(cache=cache, fut_xyz=random(FUTURE, 3), fut_bboxes=random(FUTURE, 10))


def equal(a: TrackInstances, b: TrackInstances) -> None:
    for (name, x), (_, y) in zip(a._items(), b._items(), strict=True):
        if isinstance(x, torch.Tensor):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5, msg=name)
        else:
            equal(x, y)


def test_select_and_cat_are_inverse():
    sample = instances()
    parts = [sample.select(torch.tensor([0, 1])), sample.select(torch.tensor([2, 3, 4]))]
    equal(TrackInstances.cat(parts), sample)
    assert len(parts[1]) == 3


def test_time_shifts_history_and_future(reasoner):
    before = instances()
    after = reasoner.frame_shift(before)
    assert torch.equal(after.hist_embeds[:, -1], before.cache.query_feats)
    assert torch.equal(after.hist_xyz[:, -1], before.cache.reference_points)
    assert after.hist_padding_masks.tolist() == [[True, True, False]] * N
    assert torch.equal(after.state.reference_points, before.fut_xyz[:, 0])
    assert torch.equal(after.state.bboxes, before.fut_bboxes[:, 0])
    assert torch.equal(after.fut_xyz[:, :-1], before.fut_xyz[:, 1:])
    assert (after.fut_xyz[:, -1] == 0).all()
    assert after.state.scores.tolist() == pytest.approx([0.01] * N)


@torch.no_grad()
def test_permuting_instances_permutes_the_results(reasoner):
    order = torch.tensor([3, 0, 4, 2, 1])

    def run(sample: TrackInstances) -> TrackInstances:
        return reasoner.summarize(
            reasoner.forecast(reasoner.refine(reasoner.frame_shift(sample))), 0.5
        )

    equal(run(instances()).select(order), run(instances().select(order)))


@torch.no_grad()
def test_only_the_unmasked_history_counts(reasoner):
    sample = reasoner.frame_shift(instances())
    noise = sample.hist_embeds.clone()
    noise[:, :2] = torch.randn(N, 2, D)
    other = sample.replace(hist_embeds=noise)
    equal(reasoner.refine(sample).cache, reasoner.refine(other).cache)
    equal(reasoner.forecast(sample).cache, reasoner.forecast(other).cache)


def test_the_newest_history_entry_is_the_refined_feature_without_gradient(reasoner):
    refined = reasoner.refine(reasoner.frame_shift(instances()))
    assert refined.cache.query_feats.requires_grad and not refined.hist_embeds.requires_grad
    assert torch.equal(refined.hist_embeds[:, -1], refined.cache.query_feats)


def test_summary_rebuilds_the_future_from_cumulative_displacements(reasoner):
    sample = reasoner.summarize(instances())
    xyz = denormalize_points(sample.fut_xyz, PC_RANGE)
    now = denormalize_points(sample.state.reference_points, PC_RANGE)
    steps = sample.cache.motion_predictions
    after_three = now[:, :2] + steps[:, :3, :2].sum(1)
    torch.testing.assert_close(xyz[:, 0, :2], now[:, :2] + steps[:, 0, :2], rtol=0, atol=1e-4)
    torch.testing.assert_close(xyz[:, 2, :2], after_three, rtol=0, atol=1e-4)
    torch.testing.assert_close(xyz[:, 3, 2], now[:, 2])
    moved = code_centers(sample.fut_bboxes)[:, 0, :2] - code_centers(sample.state.bboxes)[:, :2]
    torch.testing.assert_close(moved, steps[:, 0, :2])


def test_instances_below_the_record_threshold_keep_their_provisional_state(reasoner):
    sample = reasoner.frame_shift(instances())
    scores = torch.tensor([0.1, 0.39, 0.4, 0.5, 0.9])
    sample = sample.replace(cache=sample.cache.replace(scores=scores))
    summary = reasoner.summarize(sample, 0.4)
    assert torch.equal(summary.state.bboxes[:2], sample.state.bboxes[:2])
    assert torch.equal(summary.fut_xyz[:2], sample.fut_xyz[:2])
    assert torch.equal(summary.state.bboxes[2:], sample.cache.bboxes[2:])
    assert summary.state.scores.tolist() == pytest.approx([0.01, 0.01, 0.4, 0.5, 0.9])


def test_without_future_reasoning_nothing_is_provisional():
    reasoner = SpatialTemporalReasoner(False, False, hist_len=3, fut_len=FUTURE, embed_dims=D)
    assert not list(reasoner.parameters())
    sample = instances()
    assert torch.equal(reasoner.frame_shift(sample).state.bboxes, sample.state.bboxes)


def test_impossible_lengths_are_refused():
    with pytest.raises(UserError, match="hist_len"):
        SpatialTemporalReasoner(hist_len=1)
