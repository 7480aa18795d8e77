"""The demo checkpoints' training: its losses are the package's, its scenes and weights arrive."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from demo_clips import both_clips, tracker

from laboratory.demo_training import train
from laboratory.demo_training.batched import GHOST, BatchedLosses, Hardships
from laboratory.demo_training.losses import class_weights
from laboratory.demo_training.pool import ScenePool, poses_to_next
from laboratory.demo_training.scenes import MAX_OBJECTS, SceneArrays, clip_arrays, make_scenes
from pftrack.checkpoints.reading import load_into
from pftrack.datasets.collate import collate_clips
from pftrack.geometry import change_lidar_frame

CONFIG = train.CONFIGS / "f3_demo.py"
CPU = torch.device("cpu")
pytestmark = pytest.mark.slow


def gradients(model: Any, losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    sum(v for k, v in losses.items() if "loss" in k).backward()  # type: ignore[union-attr]
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_losses_and_gradients_are_the_packages(clips: list[Any], pool: ScenePool) -> None:
    model = tracker()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    batch = collate_clips(clips).normalized()
    # Another memory layout alone moves gradients by several percent (kinks), so the same for both.
    batch = replace(batch, img=batch.img.contiguous())
    expected = model(batch)
    wanted = gradients(model, expected)
    model.load_state_dict(state)  # batch statistics moved
    drawn = both_clips(pool)
    drawn.img = drawn.img.contiguous()
    found = BatchedLosses(model)(drawn)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=2e-4, atol=2e-5, msg=name)
    got = gradients(model, found)
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert (got[name] - value).norm() <= 0.01 * value.norm() + 1e-4, name


def test_erased_tracks_and_ghosts(pool: ScenePool) -> None:
    drawn = both_clips(pool)
    model = tracker()
    seen = []

    class Spy(BatchedLosses):
        def _frame(self, feats: Any, clips: Any, t: int, tracks: Any) -> Any:
            result = super()._frame(feats, clips, t, tracks)
            seen.append([ids.tolist() for ids in result[0].ids])
            return result

    with torch.no_grad():
        Spy(model, None, Hardships(erased=1.0, ghosts=1.0))(drawn)
        assert seen == [[[GHOST] * 3] * 2] * 3
        seen.clear()
        Spy(model)(drawn)
    for t, frame in enumerate(seen):
        for b, ids in enumerate(frame):
            assert sorted(ids) == sorted(drawn.ids[t, b][drawn.ids[t, b] >= 0].tolist())


def test_held_tracks_keep_their_features_and_their_step(pool: ScenePool) -> None:
    drawn = both_clips(pool)
    seen = []

    class Spy(BatchedLosses):
        def _frame(self, feats: Any, clips: Any, t: int, tracks: Any) -> Any:
            before = None if tracks is None else replace(tracks)
            result = super()._frame(feats, clips, t, tracks)
            seen.append((before, replace(result[0])))  # the next frame moves it
            return result

    with torch.no_grad():
        Spy(tracker(), None, Hardships(held=1.0))(drawn)
    before, after = seen[1]
    for b in range(2):
        common = [i for i in after.ids[b].tolist() if i in before.ids[b]]
        assert common
        for i in common:
            new, old = (list(x.ids[b]).index(i) for x in (after, before))
            assert torch.equal(after.feats[b, new], before.feats[b, old])
            assert torch.equal(after.step[b, new], before.step[b, old])
            moved = after.points[b, new] - before.points[b, old]
            expected = before.step[b, old] / torch.tensor([102.4, 102.4, 8.0])
            torch.testing.assert_close(moved, expected, rtol=0, atol=1e-5)


def test_forecasts_teach_the_features_where_told_to(pool: ScenePool) -> None:
    drawn = both_clips(pool)
    weight = "STReasoner.spatial_transformer.decoder.post_norm.weight"
    for reaches in (False, True):
        model = tracker()
        losses = BatchedLosses(model, None, Hardships(forecast_reaches_features=reaches))(drawn)
        model.zero_grad()
        losses["loss_for"].backward()
        gradient = dict(model.named_parameters())[weight].grad
        # Beyond the frames before, whose features are the tracks' contents.
        losses_alone = gradient is not None and bool(gradient.abs().sum() > 0)
        assert losses_alone == reaches


def test_forecasts_that_correct_are_measured_from_the_trackers_place(pool: ScenePool) -> None:
    drawn = both_clips(pool)
    losses = BatchedLosses(tracker(), None, Hardships(forecast_corrects=True, forecast_weight=3.0))
    rows = torch.stack([torch.arange(4), torch.tensor([0, 2, -1, -1])])
    truth = drawn.codes[0, ..., :2].gather(1, rows.clamp(min=0)[..., None].expand(-1, -1, 2))
    true = drawn.steps[0].gather(1, rows.clamp(min=0)[..., None, None].expand(-1, -1, 8, 2))
    apart = torch.tensor([0.3, -0.4])

    def loss(places: torch.Tensor, steps: torch.Tensor) -> float:
        return float(losses._forecast_loss(steps, places, rows, [4, 2], drawn, 0))

    made_good = true.clone()
    made_good[:, :, 0] -= apart
    half = losses.model.criterion.loss_prediction.loss_weight
    weights = class_weights(
        torch.where(rows >= 0, drawn.labels[0].gather(1, rows.clamp(min=0)), -1), 10
    )
    labels = torch.cat([drawn.labels[0, 0, :4], drawn.labels[0, 1, [0, 2]]])
    factor = 3.0 * half * float(weights[labels].mean())
    assert loss(truth + apart, made_good) == pytest.approx(0.1 * factor, rel=1e-4)  # SMOOTH
    assert loss(truth + apart, true) == pytest.approx((0.25 + 0.01) ** 0.5 * factor, rel=1e-4)


def test_rare_classes_count_more() -> None:
    weights = class_weights(torch.tensor([[0, 0, 0, 0], [1, -1, -1, -1]]), 2)
    assert weights.tolist() == pytest.approx([(5 / 4 / 2) ** 0.5, (5 / 1 / 2) ** 0.5])


def test_the_oldest_scene_makes_room(clips: list[Any], pool: ScenePool) -> None:
    other = replace(clip_arrays(clips[0]), ids=np.full((3, MAX_OBJECTS), 7))
    pool.add(other)
    assert pool.scenes == 3
    assert [ids[0, 0] == 7 for ids in pool._ids] == [True, False]
    pool.close()


def test_poses_to_next_are_the_packages_ego_motion(clips: list[Any]) -> None:
    l2g = clips[0].l2g
    points = np.array([[10.0, -3.0, 0.5], [-20.0, 7.0, 1.0]])
    expected = change_lidar_frame(points, l2g[0].astype(float), l2g[1].astype(float))
    pose = poses_to_next(l2g)[0]
    np.testing.assert_allclose(points @ pose[:3, :3].T + pose[:3, 3], expected, atol=1e-4)


def test_scenes_are_rendered_and_read(tmp_path: Path) -> None:
    scenes = make_scenes(tmp_path, CONFIG, seed=5, visibility=30.0, frames=2)
    assert [s.img.shape for s in scenes] == [(2, 6, 128, 320, 3)] * 2
    assert all((s.labels >= 0).any() for s in scenes)
    assert not list(tmp_path.iterdir())
    scenes[0].save(tmp_path / "a.scene")
    again = SceneArrays.load(tmp_path / "a.scene")
    for name, value in vars(scenes[0]).items():
        np.testing.assert_array_equal(getattr(again, name), value)


def test_a_step_is_saved_and_can_be_loaded(pool: ScenePool, tmp_path: Path) -> None:
    step = train.Step("f3", "f8_demo.py", 1e-4, ((0.5, 2), (1.0, 3)), 3)
    args = argparse.Namespace(out=tmp_path, seed=0)
    log = train.Log(tmp_path / "log.txt", 0.0)
    trainer = train.Trainer(step, args, CPU, log)
    ticks = iter([0.0, *[9.0] * 50])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.time, "monotonic", lambda: next(ticks))
        trainer.run(pool, until=8.0)
    assert load_into(tracker(), str(tmp_path / "f3_demo.pth"), strict=True).complete
    assert "saved f3_demo.pth after 1 steps" in (tmp_path / "log.txt").read_text()


def test_rate_rises_then_falls() -> None:
    rates = [train.rate_factor(share) for share in np.linspace(0, 1, 101)]
    top = int(np.argmax(rates))
    assert rates[0] == pytest.approx(0.1, rel=0.05)
    assert top == 4
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(train.LAST_RATE)
