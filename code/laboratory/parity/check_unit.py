"""Golden file g_: small functions one by one (positional encodings, matching, losses, codes)."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from laboratory.parity.compare import GoldenFile, Row
from laboratory.parity.data_checks import check_boxes_and_ego_motion
from pftrack.models.box_coder import denormalize_bbox, normalize_bbox
from pftrack.models.layers.positional_encoding import (
    SinePositionalEncoding3D,
    pos2posemb3d,
    time_position_embedding,
)
from pftrack.models.losses.elementary import FocalLoss, L1Loss
from pftrack.models.matching.hungarian_assigner_3d import (
    MATCHED_CODE_SIZE,
    HungarianAssigner3D,
)

CODE_WEIGHTS = [1.0] * 8 + [0.2] * 2


def check(golden: GoldenFile) -> Iterator[Row]:
    """All rows of a g_ file."""
    yield from _encodings(golden)
    yield from _matching(golden)
    for name, ours, reference in check_boxes_and_ego_motion(golden.arrays, golden.meta):
        yield Row(name, ours, reference, "geometry")


def _encodings(golden: GoldenFile) -> Iterator[Row]:
    arrays = golden.arrays
    encode = SinePositionalEncoding3D(128, normalize=True)
    yield Row("sine_pe", encode(torch.from_numpy(arrays["sine_mask"])), arrays["sine_pe"])
    yield Row("pos2posemb3d", pos2posemb3d(torch.from_numpy(arrays["pos"])), arrays["pos2posemb3d"])
    for name in (n for n in arrays if n.startswith("time_pe_")):
        rows, steps, dims = arrays[name].shape
        embedding = time_position_embedding(steps, dims, "cpu").expand(rows, -1, -1)
        yield Row(name, embedding, arrays[name])


def _matching(golden: GoldenFile) -> Iterator[Row]:
    a = {k: torch.from_numpy(v) for k, v in golden.arrays.items() if v.dtype.kind in "fib"}
    gt_codes = normalize_bbox(a["gt_bboxes"])
    yield Row("normalized_gt", gt_codes, a["normalized_gt"], "geometry")
    yield Row("denormalized_gt", denormalize_bbox(gt_codes), a["denormalized_gt"], "geometry")
    yield Row(
        "denormalized_pred", denormalize_bbox(a["bbox_pred"]), a["denormalized_pred"], "geometry"
    )
    assigner = HungarianAssigner3D()
    k = MATCHED_CODE_SIZE
    yield Row("cls_cost", assigner.cls_cost(a["cls_pred"], a["gt_labels"]), a["cls_cost"])
    yield Row(
        "reg_cost", assigner.reg_cost(a["bbox_pred"][..., :k], gt_codes[..., :k]), a["reg_cost"]
    )
    cost = assigner.cost(a["cls_pred"], a["bbox_pred"], a["gt_labels"], gt_codes)
    yield Row("cost", cost, a["cost"])
    every = torch.ones
    matched = torch.from_numpy(
        assigner.solve(
            cost.numpy(),
            every(len(cost), dtype=torch.bool).numpy(),
            every(len(gt_codes), dtype=torch.bool).numpy(),
        )
    )
    yield Row("assigned_gt_inds", matched + 1, a["assigned_gt_inds"])
    # The reference leaves -1 where nothing is assigned.
    labels = torch.where(matched >= 0, a["gt_labels"][matched.clamp(min=0)], -1)
    yield Row("assigned_labels", labels, a["assigned_labels"])
    background = torch.full_like(labels, a["cls_pred"].shape[-1])
    targets = torch.where(matched >= 0, labels, background)
    yield Row("focal_target", targets, a["focal_target"])
    focal = FocalLoss(loss_weight=2.0)(a["cls_pred"], targets, avg_factor=len(gt_codes))
    yield Row("focal_loss", focal, a["focal_loss"])
    positive = matched >= 0
    l1 = L1Loss(loss_weight=0.25)(
        a["bbox_pred"][positive],
        gt_codes[matched[positive]],
        torch.tensor(CODE_WEIGHTS),
        avg_factor=positive.sum(),
    )
    yield Row("l1_loss", l1, a["l1_loss"])
