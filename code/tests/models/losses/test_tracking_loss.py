"""The tracking losses and carried identities, by hand."""

import math

import pytest
import torch
from tiny_tracker import targets

from pftrack.errors import UserError
from pftrack.models.box_coder import normalize_bbox
from pftrack.models.losses import tracking_loss
from pftrack.models.losses.elementary import FocalLoss, L1Loss
from pftrack.models.losses.tracking_loss import TrackingLoss
from pftrack.models.trackers.track_instances import TrackInstances

N, C = 6, 10


def instances(obj_idxes: list[int]) -> TrackInstances:
    n = len(obj_idxes)
    empty = TrackInstances.empty(
        torch.rand(n, 3), torch.zeros(n, 4), torch.zeros(n, 4), C, hist_len=3, fut_len=4
    )
    return empty.replace(obj_idxes=torch.tensor(obj_idxes))


def predictions(count: int = N, layers: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(layers, count, C), torch.randn(layers, count, 10)


def test_focal_loss_of_an_undecided_background():
    loss = FocalLoss(loss_weight=2.0)(torch.zeros(1, C), torch.tensor([C]), avg_factor=1.0)
    assert loss.item() == pytest.approx(2 * C * 0.75 * 0.25 * math.log(2), rel=1e-6)


def test_l1_loss_is_weighted_and_averaged():
    pred, target = torch.tensor([[1.0, 3.0]]), torch.zeros(1, 2)
    assert L1Loss(0.5)(pred, target).item() == 1.0
    assert L1Loss(0.25)(pred, target, torch.tensor([[1.0, 0.0]]), avg_factor=2.0).item() == 0.125


def test_carried_ids_stay_gone_objects_match_nothing_and_the_rest_is_matched():
    truth = targets(3, first_id=10)
    sample = instances([-1, -1, -1, 11, 99, -1])  # 11 is present, 99 has gone
    logits, codes = predictions()
    (updated,), (match,) = TrackingLoss().match([logits], [codes], [sample], [truth])
    assert match.gt_inds.shape == (2, N)
    assert (match.gt_inds[:, 3] == 1).all() and (match.gt_inds[:, 4] == -1).all()
    for layer in match.gt_inds:
        assert sorted(layer[layer >= 0].tolist()) == [0, 1, 2]
    assert updated.matched_gt_idxes[4] == -2 and updated.obj_idxes[4] == 99
    assert sorted(updated.obj_idxes[updated.matched_gt_idxes >= 0].tolist()) == [10, 11, 12]
    survivors = match.carrying[match.surviving]
    assert (updated.matched_gt_idxes[survivors] >= 0).all() and len(survivors) == 3
    assert 4 in match.carrying and 4 not in survivors


def test_the_last_layer_decides_the_ids():
    truth = targets(1)
    logits, codes = predictions()
    codes[0, 2] = codes[1, 4] = normalize_bbox(truth.boxes)[0]
    codes[0, 2, :2] += 0.1
    logits[:] = 0
    (updated,), (match,) = TrackingLoss().match([logits], [codes], [instances([-1] * N)], [truth])
    assert match.gt_inds[0].tolist() == [-1, -1, 0, -1, -1, -1]
    assert updated.matched_gt_idxes.tolist() == [-1, -1, -1, -1, 0, -1]


def test_without_ground_truth_everything_is_background():
    criterion, truth = TrackingLoss(), targets(0)
    logits, codes = predictions()
    (updated,), matches = criterion.match([logits], [codes], [instances([-1] * N)], [truth])
    losses = criterion.detection_losses([logits], [codes], matches, [truth])
    assert set(losses) == {"loss_cls", "loss_bbox", "d0.loss_cls", "d0.loss_bbox"}
    assert losses["loss_bbox"] == 0 and losses["loss_cls"] > 0
    assert (updated.obj_idxes == -1).all() and len(matches[0].surviving) == 0
    assert matches[0].carrying.tolist() == [0]


def test_a_perfect_box_costs_nothing_and_velocity_counts_a_fifth():
    criterion, truth = TrackingLoss(), targets(1)
    logits, codes = predictions(layers=1)
    codes[0, 0] = normalize_bbox(truth.boxes)[0]
    samples = [instances([0] + [-1] * (N - 1))]
    _, matches = criterion.match([logits], [codes], samples, [truth])
    losses = criterion.detection_losses([logits], [codes], matches, [truth])
    assert losses["loss_bbox"].item() == pytest.approx(0, abs=1e-6)
    codes[0, 0, 8] += 1
    losses = criterion.detection_losses([logits], [codes], matches, [truth])
    assert losses["loss_bbox"].item() == pytest.approx(0.25 * 0.2, abs=1e-6)


def test_a_box_that_is_not_finite_is_left_out_of_the_box_loss():
    criterion, truth = TrackingLoss(), targets(2)
    truth.boxes[0, 7:] = float("nan")
    logits, codes = predictions()
    _, matches = criterion.match([logits], [codes], [instances([-1] * N)], [truth])
    losses = criterion.detection_losses([logits], [codes], matches, [truth])
    assert all(value.isfinite() for value in losses.values())


def test_permuting_instances_leaves_losses_and_permutes_matches():
    criterion, truth = TrackingLoss(), targets(3, first_id=5)
    sample = instances([-1, 6, -1, -1, 77, -1])
    logits, codes = predictions()
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    results = []
    for rows in (torch.arange(N), order):
        shuffled = logits[:, rows], codes[:, rows]
        (updated,), matches = criterion.match(
            [shuffled[0]], [shuffled[1]], [sample.select(rows)], [truth]
        )
        losses = criterion.detection_losses([shuffled[0]], [shuffled[1]], matches, [truth])
        results.append((updated.obj_idxes, losses))
    assert torch.equal(results[0][0][order], results[1][0])
    for name, value in results[0][1].items():
        torch.testing.assert_close(value, results[1][1][name])


def test_two_samples_are_averaged_and_share_the_box_normaliser():
    criterion = TrackingLoss()
    truths = [targets(3), targets(1, seed=5)]
    logits, codes = predictions()
    samples = [instances([-1] * N)] * 2
    _, matches = criterion.match([logits] * 2, [codes] * 2, samples, truths)
    both = criterion.detection_losses([logits] * 2, [codes] * 2, matches, truths)
    single = [
        criterion.detection_losses([logits], [codes], [m], [t])
        for m, t in zip(matches, truths, strict=True)
    ]
    torch.testing.assert_close(
        both["loss_cls"], (single[0]["loss_cls"] + single[1]["loss_cls"]) / 2
    )
    boxes = (single[0]["loss_bbox"] * 3 + single[1]["loss_bbox"] * 1) / 2 / 2
    torch.testing.assert_close(both["loss_bbox"], boxes)


def test_refined_boxes_are_averaged_over_the_own_positives(monkeypatch):
    """Of a sample, and of a process: the mean over ranks is the detections' alone."""
    monkeypatch.setattr(tracking_loss, "_mean_over_ranks", lambda count: count * 10)
    criterion = TrackingLoss()
    truths = [targets(3), targets(1, seed=5)]
    logits, codes = predictions()
    before = [instances([-1] * N)] * 2
    samples, _ = criterion.match([logits] * 2, [codes] * 2, before, truths)
    refined = [
        s.replace(cache=s.cache.replace(logits=logits[-1], bboxes=codes[-1])) for s in samples
    ]
    both = criterion.memory_losses(refined, truths)
    single = [criterion.memory_losses([s], [t]) for s, t in zip(refined, truths, strict=True)]
    for name, value in both.items():
        torch.testing.assert_close(value, (single[0][name] + single[1][name]) / 2)
    three = refined[0].matched_gt_idxes >= 0
    target = normalize_bbox(truths[0].boxes[refined[0].matched_gt_idxes[three]])
    error = ((codes[-1][three] - target).abs() * criterion.code_weights).sum()
    torch.testing.assert_close(single[0]["loss_mem_bbox"], 0.25 * error / 3)


def test_forecast_loss_masks_steps_and_counts_unmatched_instances():
    criterion, truth = TrackingLoss(), targets(1)
    truth.forecasting_masks[0, 3:] = False  # two complete steps: 0-1, 1-2
    sample = instances([0, 50]).replace(matched_gt_idxes=torch.tensor([0, -2]))
    sample = sample.replace(cache=sample.cache.replace(motion_predictions=torch.zeros(2, 4, 3)))
    loss = criterion.forecast_losses([sample], [truth])["loss_for"]
    # every true step is (1, 1): 4 of 16 entries are 1
    assert loss.item() == pytest.approx(0.5 * 4 / 16)


def test_code_weights_and_iou_loss_are_checked():
    with pytest.raises(UserError, match="code_weights"):
        TrackingLoss(code_weights=[1.0])
    with pytest.raises(UserError, match="loss_iou"):
        TrackingLoss(loss_iou={"type": "GIoULoss", "loss_weight": 1.0})
