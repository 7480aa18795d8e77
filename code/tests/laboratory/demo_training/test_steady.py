"""Training tracks' differences away: what is measured, what is penalised, what is kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from demo_clips import both_clips, tracker

from laboratory.demo_training.batched import Hardships, Tracks
from laboratory.demo_training.losses import place_loss
from laboratory.demo_training.pool import ScenePool
from laboratory.demo_training.steady import (
    SHIFTS,
    WANTED,
    Twins,
    between,
    penalty,
    steady,
    twice,
)
from pftrack.geometry import denormalize_points, normalize_points

pytestmark = pytest.mark.slow


def pair(model: Any, apart: float) -> Tracks:
    """One object's track in a clip and in its copy, the latter ``apart`` m to the left; beside it
    one that only the copy has."""
    places = torch.tensor([[[5.0, 5.0, 0.0], [0.0, 0.0, 0.0]], [[9.0, 9.0, 0.0], [5.0, 5.0, 0.0]]])
    places[1, 1, 1] += apart
    feats = torch.arange(4.0).view(2, 2, 1)
    return Tracks(
        points=normalize_points(places, model.pc_range),
        step=torch.zeros(2, 2, 3),
        feats=feats,
        history=feats[:, :, None],
        unseen=torch.zeros(2, 2, 1, dtype=torch.bool),
        ids=[np.array([7]), np.array([8, 7])],
    )


def test_distances_of_pairs_are_followed_and_copies_begin_anew() -> None:
    model = tracker()
    twins = Twins(model, 0)

    def seen(apart: float) -> tuple[float, Tracks]:
        tracks = pair(model, apart)
        twins.after_frame(tracks)
        points = denormalize_points(tracks.points, model.pc_range)
        assert torch.allclose(points[1, 0], torch.tensor([9.0, 9.0, 0.0]), atol=1e-4)
        return float((points[1, 1] - points[0, 0]).norm()), tracks

    begun, tracks = seen(0.0)  # too near: shifted, and otherwise the same
    assert SHIFTS[0] <= begun <= SHIFTS[1]
    assert tracks.feats[1, 1] == tracks.feats[0, 0] == 0.0
    assert len(twins.growth) == 0
    kept, tracks = seen(0.1)
    assert kept == pytest.approx(0.1, abs=1e-4)
    assert tracks.feats[1, 1] == 3.0
    assert float(twins.growth[-1]) == pytest.approx(math.log(0.1 / begun), abs=1e-2)
    again, _ = seen(0.3)
    assert float(twins.growth[-1]) == pytest.approx(math.log(3.0), abs=1e-2)
    assert again == pytest.approx(0.3, abs=1e-4)
    anew, _ = seen(2.0)  # too far
    assert SHIFTS[0] <= anew <= SHIFTS[1]
    assert float(twins.growth[-1]) == pytest.approx(math.log(2.0 / 0.3), abs=1e-2)


def test_only_growth_costs() -> None:
    calm, wild = math.log(WANTED / 2), math.log(WANTED * 2)
    assert float(penalty(torch.tensor([calm]))) == 0.0
    half = float(penalty(torch.tensor([calm, wild])))
    assert half == pytest.approx(math.log(2.0) ** 2 / 2)
    assert float(penalty(torch.zeros(0))) == 0.0


def test_near_steps_count_more_where_told_to() -> None:
    steps, true = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    true[0, 0, 1, 0] = 3.0  # the second place is missed by 3 m
    seen = torch.ones(1, 1, 2, dtype=torch.bool)
    rest = (torch.zeros(1, 1, 2), torch.zeros(1, 1, dtype=torch.int64), 1)
    far = float(torch.tensor(3.0**2 + 0.01).sqrt())
    even = float(place_loss(steps, true, seen, *rest))
    assert even == pytest.approx((0.1 + far) / 2)
    near = float(place_loss(steps, true, seen, *rest, near=0.5))
    assert near == pytest.approx((0.1 + far / 1.5) / (1 + 1 / 1.5))


def test_copies_repeat_the_clips(pool: ScenePool) -> None:
    drawn = both_clips(pool)
    doubled = twice(drawn)
    assert torch.equal(doubled.codes[:, 2:], drawn.codes)
    assert (doubled.ids[:, :2] == doubled.ids[:, 2:]).all()
    model = tracker().eval()
    losses = Twins(model, 0, Hardships(forecast_corrects=True))
    with torch.no_grad():
        alone = losses.features(drawn)
        found = losses.of_features([f.repeat(1, 2, 1, 1, 1, 1) for f in alone], doubled)
        single = Twins(model, 0, Hardships(forecast_corrects=True)).of_features(alone, drawn)
    # The first frame has no tracks yet: each copy's losses are the clip's.
    torch.testing.assert_close(found["f0.loss_bbox"], single["f0.loss_bbox"], rtol=1e-4, atol=1e-5)
    assert len(losses.growth) > 0


def test_heads_are_trained_and_the_backbone_is_not(pool: ScenePool) -> None:
    model = tracker()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    said: list[str] = []
    after = steady(model, pool, 2, (2, 3), 1e-4, 40.0, 0, said.append)
    assert "step 2 of 2" in said[-1]
    changed = {k.split(".")[0] for k, v in after.items() if not torch.equal(v, before[k])}
    assert {"pts_bbox_head", "STReasoner"} <= changed
    assert not changed & {"img_backbone", "img_neck"}
    # The running mean moves less than the weights do.
    name = "STReasoner.future_reg.0.weight"
    moved = (model.state_dict()[name] - before[name]).norm()
    assert 0 < (after[name] - before[name]).norm() < moved
    mixed = between(before, after, 0.25)
    torch.testing.assert_close(mixed[name], 0.75 * before[name] + 0.25 * after[name])
    counter = next(k for k, v in before.items() if not v.is_floating_point())
    assert torch.equal(mixed[counter], before[counter])
