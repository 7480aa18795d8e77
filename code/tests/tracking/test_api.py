"""The streaming API: the same tracks as the model gives, in the global frame."""

import numpy as np
import pytest
import torch
from mmcv import Config
from tiny_tracker import tracker_config

from pftrack import Frame, Tracker, load_tracker
from pftrack.errors import UserError
from pftrack.structures import CLASSES, TRACKING_CLASSES
from pftrack.tracking.api import ImageSettings

AUGMENTATION = dict(final_dim=(60, 90), H=90, W=160, resize_lim=(0.5, 0.6))


def config(**data) -> Config:
    test = {"ida_aug_conf": AUGMENTATION, **data}
    return Config({"model": tracker_config(), "class_names": list(CLASSES), "data": {"test": test}})


def frame(seconds: float, scene: str | None = None, seed: int = 0) -> Frame:
    """Six cameras that look around from 1.5 m above a car that has driven to (100, 50)."""
    random = np.random.default_rng(seed)
    ego2global = np.eye(4)
    ego2global[:2, 3] = 100 + 4 * seconds, 50
    lidar2ego = np.eye(4)
    lidar2ego[2, 3] = 1.8
    poses = []
    for yaw in np.arange(6) * np.pi / 3:
        c, s = np.cos(yaw), np.sin(yaw)
        pose = np.eye(4)
        pose[:3, :3] = np.array([[s, 0, c], [-c, 0, s], [0, -1, 0]])
        pose[2, 3] = 1.5
        poses.append(pose)
    intrinsics = np.array([[120.0, 0, 80], [0, 120, 45], [0, 0, 1]])
    return Frame(
        images=[random.integers(0, 255, (90, 160, 3), dtype=np.uint8) for _ in range(6)],
        intrinsics=np.stack([intrinsics] * 6),
        sensor2ego=np.stack(poses),
        camera_ego2global=np.stack([ego2global] * 6),
        lidar2ego=lidar2ego,
        ego2global=ego2global,
        timestamp=seconds,
        scene_id=scene,
    )


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
