"""Match costs and the assignment, by hand."""

import math

import numpy as np
import pytest
import torch

from pftrack.errors import UserError
from pftrack.models.matching.hungarian_assigner_3d import HungarianAssigner3D
from pftrack.models.matching.match_costs import (
    BBox3DL1Cost,
    FocalLossCost,
    IoUCost,
)


def test_focal_cost_of_an_undecided_logit():
    cost = FocalLossCost(weight=2.0)(torch.zeros(1, 3), torch.tensor([1]))
    # p = 1/2: positive 0.25 * 0.25 * ln 2, negative 0.75 * 0.25 * ln 2
    assert cost.item() == pytest.approx(2 * (0.0625 - 0.1875) * math.log(2), abs=1e-6)


def test_focal_cost_prefers_the_confident_class():
    cost = FocalLossCost()(torch.tensor([[3.0, -3.0]]), torch.tensor([0, 1]))
    assert cost[0, 0] < cost[0, 1]


def test_box_cost_is_the_sum_of_absolute_differences():
    codes = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    cost = BBox3DL1Cost(weight=0.25)(codes, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    torch.testing.assert_close(cost, torch.tensor([[0.75, 0.25], [0.0, 0.5]]))


def test_what_is_not_finite_costs_a_hundred():
    codes = torch.zeros(2, 10)
    codes[0] = float("nan")
    codes[1] = float("inf")
    cost = HungarianAssigner3D().cost(
        torch.zeros(2, 10), codes, torch.tensor([0]), torch.zeros(1, 10)
    )
    assert cost.flatten().tolist() == [100.0, 100.0]


def test_velocities_do_not_take_part():
    assigner, codes = HungarianAssigner3D(), torch.zeros(1, 10)
    moving = codes.clone()
    moving[:, 8:] = 9.0
    arguments = torch.zeros(1, 10), codes, torch.tensor([0])
    assert torch.equal(assigner.cost(*arguments, codes), assigner.cost(*arguments, moving))


def test_assignment_is_the_cheapest_and_leaves_excluded_rows_and_columns_alone():
    cost = np.array([[1.0, 0.0, 5.0], [0.0, 1.0, 5.0], [0.1, 0.1, 0.1], [9.0, 9.0, 9.0]])
    everything = HungarianAssigner3D.solve(cost, np.ones(4, bool), np.ones(3, bool))
    assert everything.tolist() == [1, 0, 2, -1]
    some = HungarianAssigner3D.solve(
        cost, np.array([False, True, True, True]), np.array([True, False, True])
    )
    assert some.tolist() == [-1, 0, 2, -1]


def test_nothing_to_match():
    cost, rows, columns = np.zeros((2, 0)), np.ones(2, bool), np.ones(0, bool)
    assert HungarianAssigner3D.solve(cost, rows, columns).tolist() == [-1, -1]


def test_iou_cost_is_refused_unless_it_is_switched_off():
    IoUCost(weight=0.0)
    with pytest.raises(UserError, match="iou_cost"):
        IoUCost(weight=1.0)
