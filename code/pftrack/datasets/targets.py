"""Ground truth of a frame: which annotations count, as tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pftrack.datasets.infos import Info
from pftrack.geometry import in_bev_range
from pftrack.nuscenes.facts import FUTURE_FRAMES
from pftrack.structures import CLASSES, FrameTargets


def frame_targets(
    info: Info,
    classes: Sequence[str] = CLASSES,
    pc_range: Sequence[float] | None = None,
    use_valid_flag: bool = True,
) -> FrameTargets:
    """Annotations of the given classes, with points on them, whose centre is in the BEV range.

    Args:
        info: with annotations (:mod:`infos`).
        classes: their positions are the labels.
        pc_range: (x0, y0, z0, x1, y1, z1) m; None: no limit.
        use_valid_flag: count lidar and radar points (``valid_flag``) instead of lidar points only.

    Returns:
        Targets in the lidar frame; unknown velocities are 0; without forecasting fields every
        future is unobserved and at the present place.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    labels = np.array([label_of.get(name, -1) for name in info["gt_names"]], dtype=np.int64)
    velocity = np.nan_to_num(np.asarray(info["gt_velocity"], dtype=np.float64).reshape(-1, 2))
    boxes = np.asarray(info["gt_boxes"], dtype=np.float64).reshape(-1, 7)
    boxes = np.concatenate([boxes, velocity], axis=1).astype(np.float32)
    seen = info["valid_flag"] if use_valid_flag else info["num_lidar_pts"] > 0
    keep = (labels >= 0) & np.asarray(seen, dtype=bool)
    if pc_range is not None:
        keep &= in_bev_range(boxes, [pc_range[i] for i in (0, 1, 3, 4)])
    if "forecasting_locs" in info:
        locs = np.asarray(info["forecasting_locs"], dtype=np.float32)
        masks = np.asarray(info["forecasting_masks"], dtype=bool)
    else:
        locs = np.repeat(boxes[:, None, :3], FUTURE_FRAMES, axis=1)
        masks = np.zeros(locs.shape[:2], dtype=bool)
    return FrameTargets(
        boxes=torch.from_numpy(boxes[keep]),
        labels=torch.from_numpy(labels[keep]),
        instance_inds=torch.as_tensor(np.asarray(info["instance_inds"], dtype=np.int64)[keep]),
        forecasting_locs=torch.from_numpy(locs.reshape(-1, FUTURE_FRAMES, 3)[keep]),
        forecasting_masks=torch.from_numpy(masks.reshape(-1, FUTURE_FRAMES)[keep]),
    )
