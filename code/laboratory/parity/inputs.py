"""The inputs of the reference runs: images drawn from a name, ground truth from the file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from laboratory.parity.weights import named_generator
from pftrack.structures import FrameTargets

CAMERAS = 6
BLOCK = 16


def synth_img(tag: str, frames: int, height: int, width: int) -> np.ndarray:
    """[1, T, 6, 3, H, W] float32 normalised images: blocks of 16 pixels plus noise."""
    rng = named_generator("img/" + tag)
    shape = (frames, CAMERAS, 3)
    low = rng.standard_normal((*shape, height // BLOCK, width // BLOCK), dtype=np.float32)
    noise = rng.standard_normal((*shape, height, width), dtype=np.float32)
    blocks = np.repeat(np.repeat(low, BLOCK, axis=-2), BLOCK, axis=-1)
    return (blocks + np.float32(0.5) * noise)[None]


def clip_images(image: dict, frames: int | None = None) -> np.ndarray:
    """The images a golden file's ``image`` entry describes: zero outside of ``img_shape``."""
    height, width = image["pad_shape"]
    img = synth_img(image["tag"], frames or image["frames"], height, width)
    valid_h, valid_w = image["img_shape"]
    img[..., valid_h:, :] = 0
    img[..., valid_w:] = 0
    return img


def read_targets(arrays: Mapping[str, np.ndarray], prefix: str) -> FrameTargets:
    """Ground truth of one frame from the arrays ``<prefix>.gt_boxes``, ...."""

    def read(name: str) -> torch.Tensor:
        return torch.from_numpy(arrays[f"{prefix}.{name}"])

    return FrameTargets(
        boxes=read("gt_boxes").float(),
        labels=read("gt_labels"),
        instance_inds=read("instance_inds"),
        forecasting_locs=read("gt_forecasting_locs"),
        forecasting_masks=read("gt_forecasting_masks"),
    )
