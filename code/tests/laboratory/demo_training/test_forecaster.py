"""The demo tracker's forecaster alone: what it is trained on is what the tracker remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from laboratory.demo_training import forecaster
from laboratory.demo_training.forecaster import Recorder, Samples, Schedule
from pftrack.structures import FrameBatch, FrameTargets

CHECKPOINT = str(forecaster.SHIPPED / "f3_demo.pth")


def test_boxes_meet_the_nearest_object_of_their_class() -> None:
    def locs(*places: tuple[float, float]) -> torch.Tensor:
        return torch.tensor([[*place, 0.0] for place in places])[:, None].expand(-1, 13, -1)

    targets = FrameTargets(
        boxes=torch.zeros(4, 9),
        labels=torch.tensor([0, 0, 1, 0]),
        instance_inds=torch.arange(4),
        forecasting_locs=locs((0, 0), (1, 0), (5, 5), (20, 0)),
        forecasting_masks=torch.ones(4, 13, dtype=torch.bool),
    )
    place = torch.tensor([[0.6, 0.0], [0.9, 0.0], [5.0, 5.0], [5.0, 6.0], [22.1, 0.0]])
    rows, objects = forecaster.match(place, torch.tensor([0, 0, 0, 1, 0]), targets)
    pairs = dict(zip(rows.tolist(), objects.tolist(), strict=True))
    assert pairs == {1: 1, 0: 0, 3: 2}  # not 2: another class; not 4: more than 2 m


def test_a_mirrored_frame_shows_mirrored_points_at_mirrored_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    frame = FrameBatch(
        img=torch.randn(1, 2, 3, 8, 12, generator=generator),
        img_shape=(8, 12),
        lidar2img=torch.randn(1, 2, 4, 4, generator=generator).double(),
        l2g=torch.eye(4)[None],
        timestamp=torch.zeros(1),
    )
    mirrored = forecaster.mirrored_frame(frame)
    point = torch.tensor([3.0, 4.0, 1.0, 1.0], dtype=torch.float64)
    there = point * torch.tensor([-1, 1, 1, 1])

    def pixel(matrix: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        u, v, depth, _ = matrix @ x
        return torch.stack([u / depth, v / depth, depth])

    for camera in range(2):
        u, v, depth = pixel(frame.lidar2img[0, camera], point)
        expected = torch.stack([12 - u, v, depth])
        torch.testing.assert_close(pixel(mirrored.lidar2img[0, camera], there), expected)
    assert torch.equal(mirrored.img.flip(-1), frame.img)
    twice = forecaster.mirrored_frame(mirrored)
    torch.testing.assert_close(twice.lidar2img, frame.lidar2img)
    with pytest.raises(ValueError, match="11 pixels are padded to 12"):
        forecaster.mirrored_frame(replace(frame, img_shape=(8, 11)))


@pytest.mark.slow
def test_what_is_recorded_is_what_the_tracker_forecasts_from(
    demo_data: Path, demo_infos: dict[str, Path]
) -> None:
    recorder = Recorder(CHECKPOINT, str(demo_data), str(demo_infos["val"]))
    reported: list[torch.Tensor] = []
    judge = recorder._samples

    def spy(output: Any, targets: Any) -> Samples:
        samples = judge(output, targets)
        apart = torch.cdist(samples.place, output.boxes[:, :2])
        reported.append(output.forecasting[apart.argmin(1)])
        return samples

    recorder._samples = spy  # type: ignore[method-assign]
    (scene,) = list(recorder.dataset.scenes)[:1]
    samples = Samples.cat(recorder.scene(scene, False))
    assert len(samples) > 10 and samples.known[:, 0].any()
    assert ((samples.place - samples.future[:, 0]).norm(dim=1) < 15).all()
    with torch.no_grad():
        found = forecaster.forecast(recorder.model.STReasoner, samples)
    torch.testing.assert_close(found, torch.cat(reported).cumsum(1), rtol=1e-4, atol=1e-3)
    assert len(Samples.cat(recorder.scene(scene, True))) > 3


def remembered(n: int = 512) -> Samples:
    """Histories whose last features are the objects' velocities; the tracker's own are 0."""
    generator = torch.Generator().manual_seed(1)
    history = torch.randn(n, 3, 128, generator=generator)
    velocity = history[:, -1, :2] * 2
    return Samples(
        history=history,
        unseen=torch.zeros(n, 3, dtype=torch.bool),
        place=torch.zeros(n, 2),
        label=torch.randint(7, (n,), generator=generator),
        velocity=torch.zeros(n, 2),
        future=velocity[:, None] * 0.5 * torch.arange(1, 9)[:, None],
        known=torch.ones(n, 8, dtype=torch.bool),
    )


@pytest.fixture
def reasoner() -> Any:
    import pftrack.models  # noqa: F401 (registers the components)
    from pftrack.config import load_config
    from pftrack.registry import build_model

    torch.manual_seed(0)
    return build_model(load_config(forecaster.CONFIG, []).model).STReasoner


@pytest.mark.slow
def test_a_forecaster_learns_what_histories_tell(reasoner: Any) -> None:
    samples = remembered()
    teacher = forecaster.train_teacher(samples, Schedule(150, 256, 1e-3, 0.01), seed=0)
    before = SimpleNamespace(
        _attend_from_future=lambda history, unseen: history[:, -1:, :2],
        future_reg=lambda velocity: velocity.expand(-1, 8, -1),
    )
    schedule = Schedule(150, 128, 1e-3, 0.01)
    forecaster.train_forecaster(reasoner, before, teacher, samples, schedule, seed=0)
    with torch.no_grad():
        still = forecaster.errors(samples, forecaster.constant_velocity(samples))
        for places in (teacher(samples), forecaster.forecast(reasoner, samples)):
            found = forecaster.errors(samples, places)
            assert all(mine < 0.5 * theirs for mine, theirs in zip(found, still, strict=True))


def test_the_first_step_is_that_of_before(reasoner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    goals: list[Any] = []
    monkeypatch.setattr(forecaster, "_train", lambda *arguments: goals.append(arguments[4]))
    samples = remembered(64)
    teacher = forecaster.Teacher(samples).eval()
    forecaster.train_forecaster(reasoner, reasoner, teacher, samples, forecaster.TEACHER, seed=0)
    error, counted = goals[0](samples, torch.Generator().manual_seed(0))
    assert counted.all()
    assert error[:, 0].abs().max() < 0.05  # bf16
    assert error[:, 1:].norm(dim=-1).mean() > 0.2
