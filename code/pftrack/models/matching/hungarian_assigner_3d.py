"""One-to-one assignment of predictions to ground truths."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pftrack.models.acceleration import full_precision
from pftrack.registry import MODELS, build_model
from pftrack.values import Range, check_range

MATCHED_CODE_SIZE = 8  # velocities do not take part
INVALID_COST = 100.0


@MODELS.register_module(name="HungarianAssigner3D")
class HungarianAssigner3D:
    """Costs on the device, assignment on the host (DETR; the boxes' part as in DETR3D).

    Args:
        cls_cost, reg_cost: configurations of the costs.
        iou_cost: accepted with weight 0.
        pc_range: stated by configurations; codes are compared in metres.
    """

    def __init__(
        self,
        cls_cost: dict[str, Any] | None = None,
        reg_cost: dict[str, Any] | None = None,
        iou_cost: dict[str, Any] | None = None,
        pc_range: Range | None = None,
    ) -> None:
        self.cls_cost = build_model(cls_cost or {"type": "FocalLossCost", "weight": 2.0})
        self.reg_cost = build_model(reg_cost or {"type": "BBox3DL1Cost", "weight": 0.25})
        if iou_cost is not None:
            build_model(iou_cost)
        if pc_range is not None:
            check_range("pc_range of the assigner", pc_range)

    def cost(self, logits: Tensor, codes: Tensor, gt_labels: Tensor, gt_codes: Tensor) -> Tensor:
        """Cost matrices without gradient; what is not finite costs :data:`INVALID_COST`.

        Args:
            logits: [..., N, C].  codes: [..., N, 10].  gt_labels: [G].  gt_codes: [G, 10].

        Returns:
            [..., N, G] float32
        """
        k = MATCHED_CODE_SIZE
        with torch.no_grad(), full_precision(logits):
            cost = self.cls_cost(logits.float(), gt_labels)
            cost = cost + self.reg_cost(codes[..., :k].float(), gt_codes[..., :k].float())
            return cost.nan_to_num(INVALID_COST, INVALID_COST, -INVALID_COST)

    @staticmethod
    def solve(cost: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Cheapest one-to-one assignment among some rows and columns.

        Args:
            cost: [N, G].  rows: [N] bool, predictions that may match.  columns: [G] bool, ground
                truths still to be matched.

        Returns:
            [N] int64: matched column, -1 none.
        """
        from scipy.optimize import linear_sum_assignment

        free_rows, free_columns = np.flatnonzero(rows), np.flatnonzero(columns)
        row, column = linear_sum_assignment(cost[np.ix_(free_rows, free_columns)])
        assigned = np.full(len(cost), -1, dtype=np.int64)
        assigned[free_rows[row]] = free_columns[column]
        return assigned
