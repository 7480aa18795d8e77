"""Image augmentation ("ida"): resize, crop, flip, rotate, the same for every image of a clip.

The geometry of an image after augmentation is its intrinsic matrix times a 3x3 matrix, so boxes
and points stay untouched. Draws, integer roundings and matrices are those of the published models
(golden file f_aug; PETR, arXiv 2203.05625, uses the same scheme).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

if TYPE_CHECKING:  # it needs a library that a deployed tracker does without
    from pftrack.datasets.image_config import AugmentationConfig

Resizer = Literal["torch", "pillow"]
# Source pixels on each side that the bicubic filter may read: 2 pixels, widened by the reduction.
_BICUBIC_SUPPORT = 2.0


@dataclass(frozen=True)
class ImageAugmentation:
    """One drawn augmentation.

    Attributes:
        resize: factor.  resize_dims: (w, h) after it.
        crop: (left, top, right, bottom) in the resized image; parts outside are black.
        flip: mirror left-right.  rotate: degrees counter-clockwise about the centre.
        source_size: (w, h) of the images that ``resize`` refers to.
    """

    resize: float
    resize_dims: tuple[int, int]
    crop: tuple[int, int, int, int]
    flip: bool = False
    rotate: float = 0.0
    source_size: tuple[int, int] = (1600, 900)

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the result."""
        return self.crop[3] - self.crop[1], self.crop[2] - self.crop[0]

    def matrix(self) -> np.ndarray:
        """[3, 3] homogeneous pixel transform; rounded to float32 as in the original."""
        f32 = np.float32
        linear = np.eye(2, dtype=f32) * f32(self.resize)
        shift = -np.array(self.crop[:2], dtype=f32)
        height, width = self.size
        if self.flip:
            mirror = np.array([[-1, 0], [0, 1]], dtype=f32)
            linear, shift = mirror @ linear, mirror @ shift + np.array([width, 0], dtype=f32)
        angle = f32(self.rotate / 180 * np.pi)
        turn = np.array(
            [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], dtype=f32
        )
        center = np.array([width, height], dtype=f32) / 2
        matrix = np.eye(3)
        matrix[:2, :2] = turn @ linear
        matrix[:2, 2] = turn @ shift + (turn @ -center + center)
        return matrix

    def intrinsics(self, intrinsics: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """Camera matrices [..., 3, 3] after augmentation of images of ``image_size`` (h, w).

        Images of another size than ``source_size`` are taken as scaled versions of such.
        """
        width, height = self.source_size
        to_source = np.diag([width / image_size[1], height / image_size[0], 1.0])
        return self.matrix() @ to_source @ intrinsics

    def __call__(self, image: np.ndarray, resizer: Resizer = "torch") -> np.ndarray:
        """Augment one image: uint8 [h, w, 3] to uint8 [crop height, crop width, 3].

        ``pillow`` gives the original's pixels bit for bit; ``torch`` is several times as fast and
        differs by at most three grey levels where both axes shrink or both grow: its two passes
        each round to integers with slightly coarser weights, and the second amplifies an error of
        the first by less than 1.5. Measured on camera images: two levels, in under two of a hundred
        values; one level, in under one of ten thousand, where the size is halved exactly (testing
        at 800x320).
        """
        resize = _resize_crop_torch if resizer == "torch" else _resize_crop_pillow
        result = resize(image, self.resize_dims, self.crop)
        if self.flip:
            result = result[:, ::-1]
        if self.rotate:
            result = np.asarray(Image.fromarray(result).rotate(self.rotate))
        return result


def draw_augmentation(
    conf: AugmentationConfig, random: np.random.RandomState | None
) -> ImageAugmentation:
    """Draw the augmentation of a clip; without ``random`` the fixed one of testing.

    The order of draws is part of the published training: resize, bottom cut, horizontal position,
    flip (only when allowed), rotation.
    """
    final_h, final_w = conf.final_dim
    if random is None:
        resize = max(final_h / conf.H, final_w / conf.W)
        new_w, new_h = int(conf.W * resize), int(conf.H * resize)
        bottom = float(np.mean(conf.bot_pct_lim))
        left = int(max(0, new_w - final_w) / 2)
        flip, rotate = False, 0.0
    else:
        resize = random.uniform(*conf.resize_lim)
        new_w, new_h = int(conf.W * resize), int(conf.H * resize)
        bottom = random.uniform(*conf.bot_pct_lim)
        left = int(random.uniform(0, max(0, new_w - final_w)))
        flip = bool(conf.rand_flip and random.choice([0, 1]))
        rotate = float(random.uniform(*conf.rot_lim))
    top = int((1 - bottom) * new_h) - final_h
    crop = (left, top, left + final_w, top + final_h)
    return ImageAugmentation(resize, (new_w, new_h), crop, flip, rotate, (conf.W, conf.H))


def _resize_crop_pillow(
    image: np.ndarray, resize_dims: tuple[int, int], crop: tuple[int, int, int, int]
) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(resize_dims).crop(crop))


def _resize_crop_torch(
    image: np.ndarray, resize_dims: tuple[int, int], crop: tuple[int, int, int, int]
) -> np.ndarray:
    """Bicubic with antialiasing, as Pillow defines it, in torch's vectorised uint8 kernel.

    Rows above the crop are neither read nor computed, as far as whole periods of the resampling
    grid allow: every ``height / gcd`` source rows the filter weights repeat.
    """
    import torch  # deployed trackers do without

    if resize_dims == (image.shape[1], image.shape[0]):
        return _crop(image, crop)
    left, top, right, bottom = crop
    height, (new_w, new_h) = image.shape[0], resize_dims
    periods = math.gcd(height, new_h)
    period_in, period_out = height // periods, new_h // periods
    margin = math.ceil(_BICUBIC_SUPPORT * max(1.0, new_h / height)) + 1
    skipped = max(0, min(periods - 1, (top - margin) // period_out))
    image, new_h = image[skipped * period_in :], new_h - skipped * period_out
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(image).permute(2, 0, 1)[None],
        size=(new_h, new_w),
        mode="bicubic",
        antialias=True,
    )[0].permute(1, 2, 0)
    shift = skipped * period_out
    return _crop(resized.numpy(), (left, top - shift, right, bottom - shift))


def _crop(image: np.ndarray, crop: tuple[int, int, int, int]) -> np.ndarray:
    """The window ``crop`` of an image [h, w, 3], black outside of it."""
    left, top, right, bottom = crop
    inside = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if inside.shape[:2] == (bottom - top, right - left):
        return inside
    result = np.zeros((bottom - top, right - left, 3), dtype=np.uint8)
    row, column = max(-top, 0), max(-left, 0)
    result[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return result
