"""3x3 convolutions with half the multiplications, in float32 on a CPU (Winograd's F(4, 3)).

Four rows of a convolution with three kernel rows are the product of two polynomials: it is
evaluated at six points, where it takes six multiplications instead of twelve, and interpolated.
Along the rows of a map everything stays as it is: six 1x3 convolutions of PyTorch's own, on a
quarter of the rows each, between additions of whole rows.

Sources: S. Winograd, "Arithmetic Complexity of Computations", SIAM 1980; A. Lavin and S. Gray,
"Fast Algorithms for Convolutional Neural Networks", CVPR 2016. Their points are 0, 1, -1, 2, -2 and
infinity; with these the sums' rounding is 2.4 instead of 3.6 times that of a direct convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_weight

ROWS = 4  # of the output, from ROWS + 2 of the input
A, B = 0.75, 1.5  # the points are 0, A, -A, B, -B, infinity
# Below this the additions, and preparing the weights, cost what the multiplications save.
LEAST_CHANNELS = 96
LEAST_PIXELS = 2000  # of all images together
LEAST_WIDTH = 40
MOST_PRODUCTS = 0.7  # of a direct convolution's, the rows that fill the last four up included
BAND_BYTES = 32 << 20  # of what is between the input and the output at a time


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution; see the module's text. Direct wherever that is not possible."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, O, h, w]"""
        if _possible(x, self.weight):
            return _Convolution.apply(x, self.weight, self.bias)
        return super().forward(x)


class _Convolution(torch.autograd.Function):
    """:func:`winograd_conv2d` with gradients; that of the input is such a convolution again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """[B, C, h, w] -> [B, O, h, w]"""
        ctx.save_for_backward(x, weight)
        return winograd_conv2d(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the three inputs, where they are needed."""
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        turned = weight.flip(2, 3).transpose(0, 1)
        return (
            winograd_conv2d(gradient, turned) if of_x else None,
            conv2d_weight(x, weight.shape, gradient, padding=1) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
        )


def use_winograd(model: nn.Module) -> int:
    """Replace every convolution that gains by it, in place, parameters and names kept.

    Returns:
        how many there were.
    """
    replaced = 0
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Conv2d and _gains(child):
                conv = WinogradConv2d(
                    child.in_channels,
                    child.out_channels,
                    3,
                    padding=1,
                    bias=child.bias is not None,
                    device="meta",
                )
                conv.weight, conv.bias = child.weight, child.bias
                setattr(module, name, conv.train(child.training))
                replaced += 1
    return replaced


def winograd_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.conv2d(x, weight, bias, padding=1)`` but for rounding, without gradients.

    Args:
        x: [B, C, h, w].  weight: [O, C, 3, 3].  bias: [O].

    Returns:
        [B, O, h, w], channels last.
    """
    kernels = _mix_kernel(weight)
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1)
    out = rows.new_empty(batch, height, width, len(weight))
    tiles = -(-height // ROWS)
    size = batch * tiles * 6 * width * (channels + len(weight)) * x.element_size()
    band = ROWS * -(-tiles // -(-size // BAND_BYTES))
    for first in range(0, height, band):
        last = min(first + band, height)
        # Below the last band are a row of zeros and what its last tile lacks.
        below = 0 if last < height else 1 + (first - last) % ROWS
        part = rows[:, max(first - 1, 0) : last + 1]
        part = F.pad(part, (0, 0, 0, 0, int(first == 0), below))
        _convolve(part, kernels, [out[:, first + i : last : ROWS] for i in range(ROWS)])
    if bias is not None:
        out += bias
    return out.permute(0, 3, 1, 2)


def _convolve(rows: Tensor, kernels: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """Input rows [B, 4 t + 2, w, C] -> output rows i, i + 4, i + 8, .. of four i.

    Args:
        kernels: [O, C, 1, 3] at the six points.
        out: [B, t, w, O] each, or fewer rows.
    """
    mixed = _mix_rows([rows[:, i : rows.shape[1] - 5 + i : ROWS] for i in range(6)])
    shape = (*mixed[0].shape[:3], -1)
    products = []
    for kernel in kernels:
        image = mixed.pop(0).flatten(0, 1)[None].permute(0, 3, 1, 2)
        products.append(F.conv2d(image, kernel, padding=(0, 1)).permute(0, 2, 3, 1).view(shape))
    _separate(products, out)


def _mix_rows(d: Sequence[Tensor]) -> list[Tensor]:
    """Input rows i, i + 4, i + 8, .. of six i, at the six points."""
    ends = [  # zero, infinity
        torch.add(d[i + 4], d[i + 2], alpha=-(A**2) - B**2).add_(d[i], alpha=A**2 * B**2)
        for i in (0, 1)
    ]
    mixed = ends[:1]
    for p, q in ((A, B), (B, A)):
        even = torch.add(d[4], d[2], alpha=-(q**2))
        odd = torch.add(d[3], d[1], alpha=-(q**2))
        mixed += [torch.add(even, odd, alpha=p), even.sub_(odd, alpha=p)]
    return [*mixed, ends[1]]


def _mix_kernel(weight: Tensor) -> list[Tensor]:
    """[O, C, 3, 3] at the six points, each [O, C, 1, 3] with channels last."""
    g = weight.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).split(1, dim=1)
    mixed = [g[0] / (A**2 * B**2)]
    for p, q in ((A, B), (B, A)):
        scale = 1 / (2 * p**2 * (p**2 - q**2))
        even = (g[0] * scale).add_(g[2], alpha=p**2 * scale)
        odd = g[1] * (p * scale)
        mixed += [even + odd, even.sub_(odd)]
    mixed.append(g[2].contiguous())
    return [kernel.permute(0, 3, 1, 2) for kernel in mixed]


def _separate(products: Sequence[Tensor], rows: Sequence[Tensor]) -> None:
    """Products [B, t, w, O] at the six points, which are used up, -> four rows."""
    sums, differences = [], []
    for point, p in ((1, A), (3, B)):
        sums.append(products[point] + products[point + 1])
        differences.append(products[point].sub_(products[point + 1]).mul_(p))
    terms = (
        ((sums[0], 1), (sums[1], 1), (products[0], 1)),
        ((differences[0], 1), (differences[1], 1)),
        ((sums[0].mul(A**2), 1), (sums[1], B**2)),
        ((products[5], 1), (differences[0], A**2), (differences[1], B**2)),
    )
    for row, ((first, _), (second, factor), *others) in zip(rows, terms, strict=True):
        count = row.shape[1]
        torch.add(first[:, :count], second[:, :count], alpha=factor, out=row)
        for other, share in others:
            row.add_(other[:, :count], alpha=share)


def _gains(conv: nn.Conv2d) -> bool:
    """Whether it is an ordinary 3x3 convolution with enough channels."""
    ordinary = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups)
    return (
        ordinary == ((3, 3), (1, 1), (1, 1), (1, 1), 1)
        and conv.padding_mode == "zeros"
        and min(conv.in_channels, conv.out_channels) >= LEAST_CHANNELS
    )


def _possible(x: Tensor, weight: Tensor) -> bool:
    """Whether this input of a convolution that gains does so, here and now."""
    batch, _, height, width = x.shape
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and width >= LEAST_WIDTH
        and batch * height * width >= LEAST_PIXELS
        and -(-height // ROWS) * (ROWS + 2) <= MOST_PRODUCTS * 3 * height
    )
