"""The losses of a clip: detection in every decoder layer, refined tracks, forecasts.

Works on B samples at once so that B samples on one device and B devices with one sample each give
the same gradients: class losses and those of refined tracks are averaged over a sample's own
positives, the detections' box losses over the mean positives of all samples and ranks, and samples
are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from pftrack.errors import UserError
from pftrack.models.acceleration import full_precision
from pftrack.models.box_coder import CODE_SIZE, normalize_bbox
from pftrack.models.trackers.track_instances import (
    GONE,
    NO_OBJECT,
    TrackInstances,
)
from pftrack.registry import MODELS, build_model
from pftrack.structures import FrameTargets, upload
from pftrack.values import AtLeastOne, NotNegative


@dataclass
class Match:
    """Which ground truth each instance of one sample stands for in this frame.

    Attributes:
        gt_inds: [L, N] int64 row of the ground truth for every decoder layer, -1 background.
        carrying: [m] int64 rows that carry an id, objects that have just gone included; row 0 where
            none does, so that every parameter takes part in the loss.
        surviving: [n] int64 positions in ``carrying`` whose object is present, by the last layer.
    """

    gt_inds: Tensor
    carrying: Tensor
    surviving: Tensor


@MODELS.register_module(
    name=["TrackingLoss", "TrackingLossCombo", "TrackingLossMemBank", "TrackingLossPrediction"]
)
class TrackingLoss(nn.Module):
    """Matching and losses of one frame (DETR's set loss with carried identities, PF-Track 3.5).

    Args:
        num_classes: C.  code_weights: [10] factors of the code's L1 loss.
        loss_cls, loss_bbox: of detections and refined tracks.  loss_prediction: of forecasts.
        assigner: configuration of the assigner.
        interm_loss: also the losses of the decoder layers before the last.
        loss_iou: accepted with weight 0.
    """

    code_weights: nn.Parameter

    def __init__(
        self,
        num_classes: AtLeastOne = 10,
        code_weights: Sequence[NotNegative] = (1, 1, 1, 1, 1, 1, 1, 1, 0.2, 0.2),
        loss_cls: dict[str, Any] | None = None,
        loss_bbox: dict[str, Any] | None = None,
        loss_prediction: dict[str, Any] | None = None,
        assigner: dict[str, Any] | None = None,
        interm_loss: bool = True,
        loss_iou: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if loss_iou is not None and loss_iou.get("loss_weight", 1.0):
            raise UserError("loss_iou has a weight: boxes have no IoU loss here, set loss_weight=0")
        if len(code_weights) != CODE_SIZE:
            raise UserError(f"code_weights has {len(code_weights)} entries, needs {CODE_SIZE}")
        self.num_classes = num_classes
        self.interm_loss = interm_loss
        self.code_weights = nn.Parameter(torch.tensor(code_weights).float(), requires_grad=False)
        self.loss_cls = build_model(loss_cls or {"type": "FocalLoss", "loss_weight": 2.0})
        self.loss_bbox = build_model(loss_bbox or {"type": "L1Loss", "loss_weight": 0.25})
        self.loss_prediction = build_model(
            loss_prediction or {"type": "L1Loss", "loss_weight": 0.5}
        )
        self.assigner = build_model(assigner or {"type": "HungarianAssigner3D"})

    # --- matching ---------------------------------------------------------------------------------

    def match(
        self,
        logits: Sequence[Tensor],
        codes: Sequence[Tensor],
        instances: Sequence[TrackInstances],
        targets: Sequence[FrameTargets],
    ) -> tuple[list[TrackInstances], list[Match]]:
        """Assign ground truths to instances; carried ids first, the Hungarian step for the rest.

        The only device-to-host transfer of a training frame: the costs of all layers and samples.

        Args: one entry for each sample:
            logits: [L, N, C].  codes: [L, N, 10].
            instances: their ``obj_idxes`` are the ids carried from the frame before.

        Returns:
            instances with ``obj_idxes`` and ``matched_gt_idxes`` of this frame, and the matches.
        """
        costs, carried = [], []
        for cls, box, sample, truth in zip(logits, codes, instances, targets, strict=True):
            costs.append(
                self.assigner.cost(cls, box, truth.labels, normalize_bbox(truth.boxes.float()))
            )
            carried.append(_carried_rows(sample.obj_idxes, truth.instance_inds))
        host_costs, host_carried = _to_host(costs, carried)
        updated: list[TrackInstances] = []
        matches: list[Match] = []
        for cost, rows, sample, truth in zip(
            host_costs, host_carried, instances, targets, strict=True
        ):
            gt_inds = self._assign(cost, rows)
            present = gt_inds[-1] >= 0
            carrying = np.flatnonzero(present | (rows == GONE))
            if not len(carrying):
                carrying = np.zeros(1, dtype=np.int64)
            device = sample.obj_idxes.device
            match = Match(
                gt_inds=_to_device(gt_inds, device),
                carrying=_to_device(carrying, device),
                surviving=_to_device(np.flatnonzero(present[carrying]), device),
            )
            gone = carried[len(updated)] == GONE
            matched = torch.where(gone, GONE, match.gt_inds[-1])
            ids = _padded(truth.instance_inds, NO_OBJECT)[matched.clamp(min=-1)]
            updated.append(
                sample.replace(
                    obj_idxes=torch.where(matched >= 0, ids, sample.obj_idxes),
                    matched_gt_idxes=matched,
                )
            )
            matches.append(match)
        return updated, matches

    def _assign(self, cost: np.ndarray, carried: np.ndarray) -> np.ndarray:
        """Ground-truth rows [L, N] from costs [L, N, G] and carried rows [N]."""
        untaken = np.ones(cost.shape[-1], dtype=bool)
        untaken[carried[carried >= 0]] = False
        fixed = np.maximum(carried, -1)
        free = carried == NO_OBJECT
        return np.stack([np.maximum(self.assigner.solve(c, free, untaken), fixed) for c in cost])

    # --- losses -----------------------------------------------------------------------------------

    def detection_losses(
        self,
        logits: Sequence[Tensor],
        codes: Sequence[Tensor],
        matches: Sequence[Match],
        targets: Sequence[FrameTargets],
    ) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox`` of the last layer, ``d{i}.loss_*`` of layer i.

        Args: one entry for each sample: logits [L, N, C], codes [L, N, 10].
        """
        last = len(logits[0]) - 1
        layers = range(last + 1) if self.interm_loss else range(last, last + 1)
        rows = [m.gt_inds[layers.start :] for m in matches]
        positives = _positives(rows)
        cls, box = self._set_losses(
            [x[layers.start :] for x in logits],
            [x[layers.start :] for x in codes],
            rows,
            targets,
            _mean_over_ranks(positives.mean(0)).expand_as(positives),
        )
        losses = {}
        for layer, cls_loss, box_loss in zip(layers, cls, box, strict=True):
            prefix = "" if layer == last else f"d{layer}."
            losses[f"{prefix}loss_cls"], losses[f"{prefix}loss_bbox"] = cls_loss, box_loss
        return losses

    def memory_losses(
        self, instances: Sequence[TrackInstances], targets: Sequence[FrameTargets]
    ) -> dict[str, Tensor]:
        """``loss_mem_cls`` and ``loss_mem_bbox``: the estimates that past reasoning refined."""
        cls, box = self._set_losses(
            [i.cache.logits[None] for i in instances],
            [i.cache.bboxes[None] for i in instances],
            rows := [i.matched_gt_idxes[None] for i in instances],
            targets,
            _positives(rows),
        )
        return {"loss_mem_cls": cls[0], "loss_mem_bbox": box[0]}

    def forecast_losses(
        self, tracks: Sequence[TrackInstances], targets: Sequence[FrameTargets]
    ) -> dict[str, Tensor]:
        """``loss_for``: predicted against true displacements (x, y) of each future step.

        Both sides are multiplied by a mask of the steps whose two ends were observed; the mean runs
        over masked entries too.

        Args:
            tracks: for each sample the instances that carry an id.
        """
        total = []
        for sample, truth in zip(tracks, targets, strict=True):
            predicted = sample.cache.motion_predictions
            steps = predicted.shape[1]
            locs = truth.forecasting_locs[..., :2].float()
            true = locs[:, 1 : steps + 1] - locs[:, :steps]
            observed = truth.forecasting_masks
            valid = observed[:, 1 : steps + 1] & observed[:, :steps]
            rows = sample.matched_gt_idxes.clamp(min=-1)
            mask = _padded(valid, False)[rows][..., None].float()
            with full_precision(predicted):
                total.append(
                    self.loss_prediction(
                        predicted[..., :2].float() * mask, _padded(true, 0.0)[rows] * mask
                    )
                )
        return {"loss_for": sum(total) / len(total)}

    def _set_losses(
        self,
        logits: Sequence[Tensor],
        codes: Sequence[Tensor],
        gt_inds: Sequence[Tensor],
        targets: Sequence[FrameTargets],
        box_factors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Class and box losses [L] of L layers in one pass, since a GPU waits for every call.

        Args:
            logits, codes, gt_inds: for each sample [L, N, C], [L, N, 10], ground-truth rows [L, N].
            box_factors: [B, L] what each sample's box losses are divided by (at least 1).
        """
        cls_losses, box_losses = [], []
        factors = zip(_positives(gt_inds).clamp(min=1), box_factors.clamp(min=1), strict=True)
        with full_precision(logits[0]):
            for cls, box, rows, (count, box_factor), truth in zip(
                logits, codes, gt_inds, factors, targets, strict=True
            ):
                rows = rows.clamp(min=-1)
                labels = _padded(truth.labels, self.num_classes)[rows]
                loss = self.loss_cls(
                    cls.float().flatten(0, 1), labels.flatten(), reduction_override="none"
                )
                cls_losses.append(loss.unflatten(0, rows.shape).sum((1, 2)) / count)
                target = _padded(normalize_bbox(truth.boxes.float()), 0.0)[rows]
                known = (rows >= 0) & target.isfinite().all(-1)
                weight = known[..., None] * self.code_weights
                target = torch.where(known[..., None], target, 0.0)
                loss = self.loss_bbox(
                    *(x.flatten(0, 1) for x in (box.float(), target, weight)),
                    reduction_override="none",
                )
                box_losses.append(loss.unflatten(0, rows.shape).sum((1, 2)) / box_factor)
        return sum(cls_losses) / len(cls_losses), sum(box_losses) / len(box_losses)


def _carried_rows(obj_idxes: Tensor, gt_ids: Tensor) -> Tensor:
    """Row [N] of the ground truth whose id an instance carries; -1 carries none, -2 has gone."""
    if not len(gt_ids):
        return torch.where(obj_idxes >= 0, GONE, NO_OBJECT)
    same = (obj_idxes[:, None] == gt_ids[None]) & (obj_idxes >= 0)[:, None]
    present = same.any(1)
    absent = torch.where(obj_idxes >= 0, GONE, NO_OBJECT)
    return torch.where(present, same.long().argmax(1), absent)


def _positives(gt_inds: Sequence[Tensor]) -> Tensor:
    """[B, L] how many instances of each sample stand for a ground truth; rows [L, N] for each."""
    return torch.stack([(rows >= 0).sum(-1) for rows in gt_inds]).float()


def _padded(values: Tensor, fill: float) -> Tensor:
    """``values`` with one more row, so that the index -1 reads ``fill``."""
    row = (
        torch.full_like(values[:1], fill)
        if len(values)
        else values.new_full((1, *values.shape[1:]), fill)
    )
    return torch.cat([values, row])


def _to_host(
    costs: Sequence[Tensor], carried: Sequence[Tensor]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """All tensors in one transfer."""
    tensors = [*costs, *carried]
    flat = torch.cat([t.flatten().float() for t in tensors]).cpu().numpy()
    parts = np.split(flat, np.cumsum([t.numel() for t in tensors])[:-1])
    arrays = [p.reshape(t.shape) for p, t in zip(parts, tensors, strict=True)]
    return arrays[: len(costs)], [a.astype(np.int64) for a in arrays[len(costs) :]]


def _to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy on ``device``; does not wait for a GPU."""
    return upload(torch.from_numpy(np.ascontiguousarray(array)), device)


def _mean_over_ranks(value: Tensor) -> Tensor:
    """``value`` averaged over distributed processes."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / dist.get_world_size()
