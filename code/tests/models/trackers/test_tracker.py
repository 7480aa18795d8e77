"""The whole tracker on a small network: training, tracking, and inputs that are out of order."""

import pytest
import torch
from tiny_tracker import QUERIES, clip, petrv2, tiny_tracker

from pftrack.errors import UserError


@pytest.fixture(scope="module", params=[{}, petrv2()], ids=["petr", "petrv2"])
def model(request):
    return tiny_tracker(**request.param)


def total(losses):
    return sum(value for name, value in losses.items() if "loss" in name)


def track_clip(model, batch):
    """What is reported for each frame of a clip, tracked as a stream."""
    outputs, memory = [], None
    for t in range(batch.num_frames):
        output, memory = model.eval().forward_track(batch.frame(t), memory)
        outputs.append(output)
    return outputs


def gradients(model, batch):
    model.zero_grad()
    total(model(batch)).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_losses_are_named_as_in_the_logs_and_reach_every_parameter(model):
    model.train()
    grads = gradients(model, clip([[3, 3]]))
    losses = model(clip([[3, 3]]))
    frame = {"loss_cls", "loss_bbox", "d0.loss_cls", "d0.loss_bbox"}
    frame |= {"loss_mem_cls", "loss_mem_bbox", "loss_for"}
    assert set(losses) == frame | {f"f0.{name}" for name in frame}
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    assert set(grads) == trainable
    assert all(g.isfinite().all() for g in grads.values())


@pytest.mark.slow
def test_a_batch_of_two_clips_gives_the_mean_gradient_of_its_clips(model):
    model.train()
    one, two = clip([[2, 2]], seed=0), clip([[2, 2]], seed=1)
    both = clip([[2, 2], [2, 2]])
    both.img = torch.cat([one.img, two.img])
    both.targets = one.targets + two.targets
    separate = [gradients(model, b) for b in (one, two)]
    for name, grad in gradients(model, both).items():
        expected = (separate[0][name] + separate[1][name]) / 2
        rounding = 1e-4 * max(1.0, expected.abs().max().item())
        torch.testing.assert_close(grad, expected, rtol=1e-3, atol=rounding, msg=name)


def test_one_grid_mask_for_all_images_of_a_clip():
    """Another draw for every clip; of 200 clips 0.3 are not masked."""
    model = tiny_tracker(use_grid_mask=True).train()
    seen = []
    model.extract_feats = lambda img: seen.append(img) or []
    torch.manual_seed(0)
    batch = clip([[0, 0, 0]] * 2)
    batch.img = torch.ones_like(batch.img)
    for _ in range(100):
        model.extract_clip_feats(batch)
    clips = torch.cat(seen)
    for images in clips.flatten(1, 3):
        assert (images == images[0]).all()
    whole = sum(bool(images.all()) for images in clips)
    assert 40 <= whole <= 80  # 60 expected, standard deviation 6.5
    assert len({images.sum().item() for images in clips}) > 50


@pytest.mark.parametrize("counts", [[0, 0], [2, 0], [0, 2]])
def test_frames_without_ground_truth(model, counts):
    model.train()
    grads = gradients(model, clip([counts]))
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    assert set(grads) == trainable


def test_checkpointed_reasoning_has_the_same_gradients(model):
    model.train()
    plain = gradients(model, clip([[2, 2]]))
    model.STReasoner.with_cp = True
    try:
        recomputed = gradients(model, clip([[2, 2]]))
    finally:
        model.STReasoner.with_cp = False
    for name, grad in plain.items():
        torch.testing.assert_close(recomputed[name], grad, msg=name)


def test_a_frozen_backbone_gets_no_gradient_and_stays_in_evaluation_mode():
    model = tiny_tracker(train_backbone=False).train()
    grads = gradients(model, clip([[2]]))
    assert not any(name.startswith("img_backbone") for name in grads)
    assert any(name.startswith("img_neck") for name in grads)
    assert not any(m.training for m in model.img_backbone.modules())


def test_training_needs_targets(model):
    batch = clip([[1]])
    batch.targets = []
    with pytest.raises(UserError, match="no targets"):
        model(batch)


def test_losses_are_float32_under_autocast(model):
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(clip([[2, 2]]))
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_images_that_are_not_finite_do_not_stop_training_or_tracking(model, bad):
    batch = clip([[2, 2]])
    batch.img[0, 0, 0] = bad
    assert not total(model.train()(batch)).isfinite()
    output, memory = model.eval().forward_track(batch.frame(0))
    assert len(output.scores) == 0
    # The stream recovers with the next good frame.
    good, _ = model.forward_track(clip([[1]]).frame(0), memory)
    fresh, _ = model.forward_track(clip([[1]]).frame(0))
    torch.testing.assert_close(good.scores, fresh.scores)


@pytest.mark.parametrize("num_cameras", [1, 3])
def test_any_number_of_cameras(model, num_cameras):
    assert total(model.train()(clip([[2]], num_cameras=num_cameras))).isfinite()
    assert len(track_clip(model, clip([[2, 2]], num_cameras=num_cameras))) == 2


def test_other_image_sizes(model):
    batch = clip([[1]])
    batch.img = torch.randn(1, 1, 6, 3, 96, 160)
    batch.img_shape = (90, 150)
    assert total(model.train()(batch)).isfinite()


def test_three_classes():
    model = tiny_tracker(num_classes=3)
    batch = clip([[3, 3]], num_classes=3)
    assert total(model.train()(batch)).isfinite()
    assert len(track_clip(model, batch)) == 2


def confident(model):
    """Make the refinement call every instance a car, above or below the thresholds."""

    def set_score(logit: float) -> None:
        with torch.no_grad():
            bias = model.STReasoner.track_cls[-1].bias
            model.STReasoner.track_cls[-1].weight.zero_()
            bias.fill_(-9.0)
            bias[0] = logit

    return set_score


def test_tracks_go_on_by_their_forecast_and_die_at_max_age():
    model = tiny_tracker().eval()
    set_score = confident(model)
    frames = [clip([[0] * 8]).frame(t) for t in range(8)]
    for frame in frames:
        frame.l2g = torch.eye(4)[None]
    set_score(3.0)
    first, memory = model.forward_track(frames[0])
    assert len(first.scores) == QUERIES
    born = memory.tracks
    set_score(-9.0)
    for age, frame in enumerate(frames[1:3], start=1):
        output, memory = model.forward_track(frame, memory)
        assert len(output.scores) == 0
        tracks = memory.tracks
        assert tracks.obj_idxes.tolist() == born.obj_idxes.tolist()
        assert tracks.disappear_time.tolist() == [age] * QUERIES
        expected = born.fut_xyz[:, age - 1]
        torch.testing.assert_close(tracks.state.reference_points, expected, rtol=0, atol=1e-5)
    _, memory = model.forward_track(frames[3], memory)
    assert len(memory.tracks) == 0


def test_ids_survive_and_restart_with_the_sequence():
    model = tiny_tracker().eval()
    confident(model)(3.0)
    batch = clip([[0, 0, 0]])
    batch.timestamp = torch.tensor([[0.0, 0.5, 60.0]], dtype=torch.float64)
    outputs = track_clip(model, batch)
    first, second, third = (set(o.obj_ids) for o in outputs)
    assert first <= second | first and {s for s, _ in second} == {1}
    assert {s for s, _ in third} == {2} and min(i for _, i in third) == 0
    assert outputs[0].forecasting.shape[1:] == (4, 2)


def test_reasoning_can_be_switched_off_and_on_while_tracking(model):
    model.eval()
    frames, memory = [clip([[0] * 3]).frame(t) for t in range(3)], None
    model.STReasoner.history_reasoning = model.STReasoner.future_reasoning = False
    try:
        for frame in frames[:2]:
            output, memory = model.forward_track(frame, memory)
        assert output.forecasting is None
    finally:
        model.STReasoner.history_reasoning = model.STReasoner.future_reasoning = True
    assert model.forward_track(frames[2], memory)[0].forecasting is not None


def test_tracking_is_a_function_of_frame_and_memory():
    """Nothing stays in the model: the same memory gives the same tracks, in any order."""
    model = tiny_tracker().eval()
    confident(model)(3.0)
    frames = [clip([[0] * 3]).frame(t) for t in range(3)]
    _, after_one = model.forward_track(frames[0])
    first, after_two = model.forward_track(frames[1], after_one)
    model.forward_track(frames[2], after_two)
    again, _ = model.forward_track(frames[1], after_one)
    assert first.obj_ids == again.obj_ids and torch.equal(first.boxes, again.boxes)
    assert not any("track" in name for name in vars(model) if name != "tracking")


def test_stages_are_timed(model):
    from contextlib import contextmanager

    seen = []

    @contextmanager
    def stage(name):
        seen.append(name)
        yield

    model.eval().forward_track(clip([[0]]).frame(0), stage=stage)
    assert seen == ["life cycle", "backbone", "head", "reasoning", "life cycle"]
