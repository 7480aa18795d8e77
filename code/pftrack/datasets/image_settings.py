"""How camera images become network input when tracking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pftrack.datasets.augmentation import ImageAugmentation, draw_augmentation
from pftrack.datasets.frames import padded_size
from pftrack.datasets.release_pipelines import PIPELINE_KEYS, settings_from_pipelines
from pftrack.errors import UserError
from pftrack.frames import PIXEL_MEAN, PIXEL_STD

if TYPE_CHECKING:
    from mmcv import Config


@dataclass
class ImageSettings:
    """How a configuration's test split turns camera images into network input.

    Attributes:
        augmentation: the fixed resize and crop of testing.  mean, std: [3] BGR.
        size_divisor: images are padded to a multiple of it.
    """

    augmentation: ImageAugmentation
    mean: tuple[float, float, float] = PIXEL_MEAN
    std: tuple[float, float, float] = PIXEL_STD
    size_divisor: int = 32

    @property
    def padded_size(self) -> tuple[int, int]:
        """(H, W) of the network input."""
        return padded_size(self.augmentation.size, self.size_divisor)

    @classmethod
    def from_config(cls, cfg: Config) -> ImageSettings:
        """Read ``cfg.data.test_tracking`` (or ``test``, ``val``) with the original's pipelines.

        Raises:
            UserError: the configuration does not say how large the images are.
        """
        # A deployed tracker, which has no configuration, does without the library for it.
        from pftrack.datasets.image_config import AugmentationConfig, pad_divisor, pixel_norm

        data = cfg.get("data") or {}
        splits = (data.get(name) for name in ("test_tracking", "test", "val"))
        split: Mapping[str, Any] = next(filter(None, splits), {})
        split = {**split, **settings_from_pipelines(split.get(key) for key in PIPELINE_KEYS)}
        conf = split.get("ida_aug_conf")
        if conf is None:
            raise UserError(
                f"config {cfg.filename}: data.test has no 'ida_aug_conf' (image size and crop)"
            )
        mean, std = pixel_norm(split.get("img_norm_cfg") or {})
        return cls(
            augmentation=draw_augmentation(AugmentationConfig.from_dict(conf), None),
            mean=mean,
            std=std,
            size_divisor=pad_divisor(split.get("size_divisor", 32)),
        )
