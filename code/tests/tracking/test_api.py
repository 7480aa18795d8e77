"""The streaming API: the same tracks as the model gives, in the global frame."""

import numpy as np
import pytest
import torch
from street_frames import config, frame

from pftrack import Tracker, load_tracker
from pftrack.datasets.image_settings import ImageSettings
from pftrack.errors import UserError
from pftrack.models.layers.winograd import WinogradConv2d
from pftrack.structures import TRACKING_CLASSES


@pytest.fixture(scope="module")
def tracker():
    torch.manual_seed(0)
    tracker = load_tracker(config(), device="cpu")
    with torch.no_grad():  # every instance a car
        tracker.model.STReasoner.track_cls[-1].weight.zero_()
        tracker.model.STReasoner.track_cls[-1].bias.fill_(-5.0)[0] = 2.0
    return tracker


def test_steps_give_the_tracks_of_the_model_in_the_global_frame(tracker):
    tracker.reset()
    batch = tracker.batch(frame(0.0))
    assert batch.img.shape == (1, 6, 3, 64, 96) and batch.img_shape == (60, 90)
    assert (batch.img[..., 60:, :] == 0).all()
    output, _ = tracker.model.forward_track(batch)
    tracks = tracker.step(frame(0.0))
    by_id = {f"{s}-{i}": row for row, (s, i) in enumerate(output.obj_ids)}
    assert tracks and {t.id for t in tracks} <= set(by_id)
    for track in tracks:
        row = by_id[track.id]
        box = output.boxes[row].numpy()
        np.testing.assert_allclose(track.center, box[:3] + [100, 50, 1.8], atol=1e-4)
        np.testing.assert_allclose(track.size, box[3:6], rtol=1e-6)
        yaw = -box[6] - np.pi / 2
        assert np.isclose(np.cos(track.yaw - yaw), 1, atol=1e-6)
        np.testing.assert_allclose(track.forecast, output.forecasting[row].numpy(), atol=1e-6)
        assert track.name in TRACKING_CLASSES and 0 <= track.score <= 1


def test_two_passes_over_a_stream_are_equal_and_ids_persist(tracker):
    def run():
        tracker.reset()
        return [tracker.step(frame(t / 2, seed=t)) for t in range(3)]

    first, second = run(), run()
    for a, b in zip(first, second, strict=True):
        assert [t.id for t in a] == [t.id for t in b]
        assert all(np.array_equal(x.center, y.center) for x, y in zip(a, b, strict=True))
    assert {t.id for t in first[0]} & {t.id for t in first[1]}


def test_trackers_that_share_a_model_do_not_touch_each_other(tracker):
    """Two interleaved streams give the tracks that they give one after the other."""
    one, two = (Tracker(tracker.model, tracker.images, tracker.classes) for _ in range(2))
    streams = {
        "a": [frame(t / 2, "a", seed=t) for t in range(3)],
        "b": [frame(t / 2, "b", seed=10 + t) for t in range(3)],
    }

    def seen(tracks):
        return [(t.id, t.score, *t.center) for t in tracks]

    alone = {
        name: [seen(tracker.step(f)) for f in frames]
        for name, frames in streams.items()
        if tracker.reset() is None
    }
    together = {"a": [], "b": []}
    for a, b in zip(streams["a"], streams["b"], strict=True):
        together["a"].append(seen(one.step(a)))
        together["b"].append(seen(two.step(b)))
    assert together == alone and all(len(tracks) for tracks in alone["b"])


def test_a_memory_put_back_goes_on_from_there(tracker):
    tracker.reset()
    tracker.step(frame(0.0))
    memory = tracker.memory
    first = [t.center.tolist() for t in tracker.step(frame(0.5, seed=1))]
    tracker.memory = memory
    assert [t.center.tolist() for t in tracker.step(frame(0.5, seed=1))] == first


def test_sequences_follow_scenes_or_time(tracker):
    def sequences(frames):
        tracker.reset()
        return [{t.id.split("-")[0] for t in tracker.step(f)} for f in frames]

    assert sequences([frame(0, "a"), frame(0.5, "b")]) == [{"1"}, {"2"}]
    assert sequences([frame(0), frame(20)]) == [{"1"}, {"2"}]
    assert sequences([frame(0, "a"), frame(20, "a")]) == [{"1"}, {"1"}]


@pytest.mark.parametrize(("precision", "metres"), [("bf16", 2.0), ("fp16", 0.25)])
def test_half_precision_changes_boxes_little(tracker, precision, metres):
    tracker.reset()
    exact = {t.id: t for t in tracker.step(frame(0.0))}
    tracker.reset()
    tracker.precision = precision
    try:
        rough = {t.id: t for t in tracker.step(frame(0.0))}
    finally:
        tracker.precision = "fp32"
    common = set(exact) & set(rough)
    assert len(common) >= len(exact) - 2
    change = max(np.abs(exact[i].center - rough[i].center).max() for i in common)
    assert 1e-6 < change < metres


def test_settings_of_images_come_from_the_test_split():
    settings = ImageSettings.from_config(config(size_divisor=16))
    assert settings.augmentation.size == (60, 90) and settings.size_divisor == 16
    with pytest.raises(UserError, match="ida_aug_conf"):
        ImageSettings.from_config(config(ida_aug_conf=None))


def test_a_checkpoint_must_fill_the_model(tmp_path):
    file = tmp_path / "part.pth"
    torch.save({"reference_points.weight": torch.rand(12, 3)}, file)
    with pytest.raises(UserError, match="does not fill"):
        load_tracker(config(), file, device="cpu")


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_no_such_device(device):
    with pytest.raises(UserError, match=device):
        load_tracker(config(), device=device)


def test_matrices_of_another_shape(tracker):
    wrong = frame(0)
    wrong.intrinsics = wrong.intrinsics[:5]
    with pytest.raises(UserError, match="intrinsics has the shape"):
        tracker.step(wrong)


@pytest.mark.parametrize(
    ("options", "replaced"),
    [({}, True), ({"fuse_conv_bn": False}, False), ({"static": True, "compile": False}, False)],
)
def test_large_convolutions_take_fewer_products_where_norms_are_folded(options, replaced):
    tracker = load_tracker(config(), device="cpu", **options)
    model = tracker.static_step if "static" in options else tracker.model
    assert any(isinstance(m, WinogradConv2d) for m in model.modules()) == replaced
