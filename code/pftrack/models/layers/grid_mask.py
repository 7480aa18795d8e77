"""GridMask augmentation (Chen et al., 2020), drawn and applied on the images' own device."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def stripes(size: int, period: int, width: int, start: int) -> Tensor:
    """[size] bool: True on stripes of ``width`` every ``period`` from ``start``.

    The pattern is drawn on 1.5 times the size and its centre is kept, as the original does.
    """
    extended = int(1.5 * size)
    offset = torch.arange(extended) - start
    on = (offset >= 0) & (offset % period < width) & (offset // period < extended // period)
    first = (extended - size) // 2
    return on[first : first + size]


class GridMask(nn.Module):
    """Zeroes a grid of squares, the same for all images of a call (a clip); training only.

    Args:
        ratio: width of the kept stripes relative to the grid's period.
        prob: probability of masking a call at all.
    """

    def __init__(self, ratio: float = 0.5, prob: float = 0.7) -> None:
        super().__init__()
        self.ratio = ratio
        self.prob = prob

    def forward(self, images: Tensor) -> Tensor:
        """Images [..., H, W] to images of the same shape. Draws from torch's CPU generator."""
        if not self.training or torch.rand(()).item() > self.prob:
            return images
        return images * self.draw(*images.shape[-2:]).to(images, non_blocking=True)

    def draw(self, height: int, width: int) -> Tensor:
        """One random mask [H, W] bool, True = keep: inside a row stripe or a column stripe."""
        period = int(torch.randint(2, height, ()))
        stripe = min(max(int(period * self.ratio + 0.5), 1), period - 1)
        rows = stripes(height, period, stripe, int(torch.randint(period, ())))
        columns = stripes(width, period, stripe, int(torch.randint(period, ())))
        return rows[:, None] | columns[None, :]
