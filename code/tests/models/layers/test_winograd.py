"""Convolutions with half the multiplications: the same sums, only where they gain."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pftrack.models.layers import winograd
from pftrack.models.layers.winograd import WinogradConv2d, use_winograd, winograd_conv2d

IMAGE = torch.randn(2, 96, 20, 50, generator=torch.Generator().manual_seed(0))


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.sampled_from([1, 5, 16, 96]),
    out_channels=st.sampled_from([1, 7, 16]),
    height=st.integers(1, 14),
    width=st.integers(1, 9),
    biased=st.booleans(),
    band=st.sampled_from([1, 20_000, 1 << 30]),
    channels_last=st.booleans(),
)
def test_any_shape_in_any_bands_is_the_convolution(
    batch: int,
    channels: int,
    out_channels: int,
    height: int,
    width: int,
    biased: bool,
    band: int,
    channels_last: bool,
) -> None:
    torch.manual_seed(height * 100 + width)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(batch, channels, height, width).to(memory_format=layout)
    weight = torch.randn(out_channels, channels, 3, 3).to(memory_format=layout)
    bias = torch.randn(out_channels) if biased else None
    before = x.clone(), weight.clone()
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(winograd, "BAND_BYTES", band)
        found = winograd_conv2d(x, weight, bias)
    exact = F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), 1, 1)
    assert found.shape == exact.shape and found.dtype == torch.float32
    scale = 3 * channels**0.5  # of a sum of 9 C products of normal numbers
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5 * scale)
    assert torch.equal(x, before[0]) and torch.equal(weight, before[1])


def test_rounding_is_that_of_a_convolution() -> None:
    torch.manual_seed(0)
    x, weight = IMAGE.relu(), torch.randn(96, 96, 3, 3)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    with torch.no_grad():
        ours, theirs = winograd_conv2d(x, weight), F.conv2d(x, weight, padding=1)
    assert (ours - exact).norm() < 4 * (theirs - exact).norm()


@pytest.mark.parametrize("frozen", [None, "weight", "input"])
def test_gradients_are_those_of_a_convolution(frozen: str | None) -> None:
    torch.manual_seed(0)
    conv = WinogradConv2d(96, 112, 3, padding=1)
    conv.weight.requires_grad_(frozen != "weight")
    x = IMAGE.clone().requires_grad_(frozen != "input")
    inputs = [t for t in (x, conv.weight, conv.bias) if t.requires_grad]
    found = conv(x)
    towards = torch.randn_like(found)
    ours = torch.autograd.grad(found, inputs, towards)
    x64, weight, bias = (t.detach().double().requires_grad_() for t in (x, conv.weight, conv.bias))
    exact = F.conv2d(x64, weight, bias, padding=1)
    theirs = torch.autograd.grad(exact, (x64, weight, bias), towards.double())
    wanted = [
        g for g, t in zip(theirs, (x, conv.weight, conv.bias), strict=True) if t.requires_grad
    ]
    for a, b in zip(ours, wanted, strict=True):
        assert (a - b).abs().max() < 1e-5 * b.abs().max()


def test_only_large_ordinary_convolutions_are_replaced() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 96, 3, padding=1),
        nn.Sequential(nn.Conv2d(96, 112, 3, padding=1, bias=False), nn.ReLU()),
        nn.Conv2d(112, 96, 3, padding=1),
        nn.Conv2d(96, 96, 1),
        nn.Conv2d(96, 96, 3, stride=2, padding=1),
        nn.Conv2d(96, 96, 3),
        nn.Conv2d(96, 96, 3, padding=2, dilation=2),
        nn.Conv2d(96, 96, 3, padding=1, groups=2),
        nn.Conv2d(96, 96, 3, padding=1, padding_mode="reflect"),
    ).eval()
    image = torch.randn(1, 3, 60, 80)
    expected, weights = model(image).detach(), model.state_dict()
    assert use_winograd(model) == 2
    where = [name for name, m in model.named_modules() if isinstance(m, WinogradConv2d)]
    assert where == ["1.0", "2"] and not model[2].training
    assert {k: v.data_ptr() for k, v in model.state_dict().items()} == {
        k: v.data_ptr() for k, v in weights.items()
    }
    with torch.no_grad():
        found = model(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.equal(found, expected)  # it was computed in the other way
    assert use_winograd(model) == 0


@pytest.mark.parametrize("reason", ["autocast", "narrow", "few rows", "double"])
def test_elsewhere_it_is_an_ordinary_convolution(reason: str) -> None:
    torch.manual_seed(0)
    conv = WinogradConv2d(96, 96, 3, padding=1)
    x = {"narrow": IMAGE[..., :39].repeat(4, 1, 1, 1), "few rows": IMAGE[:, :, :2]}.get(
        reason, IMAGE
    )
    if reason == "double":
        conv, x = conv.double(), x.double()
    with torch.autocast("cpu", torch.bfloat16, enabled=reason == "autocast"):
        found, expected = conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1)
    assert torch.equal(found, expected)
