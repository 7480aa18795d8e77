"""Precision: weights cast once give autocast's numbers; norms folded into convolutions."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_tracker import clip, tiny_tracker
from torch import nn

from pftrack.errors import UserError
from pftrack.models.acceleration import cast_weights, fuse_conv_bn, precision_context


def test_weights_cast_at_load_give_what_autocast_gives():
    model = tiny_tracker().eval()
    cast = copy.deepcopy(model)
    cast_weights(cast, "bf16")
    assert cast.img_backbone.stem[0].weight.dtype == torch.bfloat16
    assert cast.reference_points.weight.dtype == torch.float32
    batch, memories = clip([[4] * 3]), {}
    for t in range(3):
        outputs = []
        for tracker in (model, cast):
            with precision_context("bf16", torch.device("cpu")):
                output, memory = tracker.forward_track(batch.frame(t), memories.get(id(tracker)))
            memories[id(tracker)] = memory
            outputs.append((output.boxes, output.scores, memory.tracks))
        assert torch.equal(outputs[0][0], outputs[1][0])
        assert torch.equal(outputs[0][1], outputs[1][1])
    assert not torch.is_autocast_enabled("cpu")


def test_an_unknown_precision_is_named_before_anything_is_entered():
    with pytest.raises(UserError, match="unknown precision 'fp8': use fp32, fp16 or bf16"):
        precision_context("fp8", torch.device("cpu"))
    precision_context("bf16", torch.device("cpu"))  # asked for, not entered
    assert not torch.is_autocast_enabled("cpu")


class _NormWithActivation(nn.BatchNorm2d):
    """As timm has it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()


def _trained(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm


def test_norms_are_folded_into_the_convolutions_before_them():
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), _trained(nn.BatchNorm2d(4)), nn.ReLU())
    alone = _trained(nn.BatchNorm2d(3))
    model = nn.Sequential(alone, block, nn.Conv2d(4, 5, 1), _trained(nn.BatchNorm2d(5)))
    images = torch.randn(2, 3, 8, 8)
    expected = model.eval()(images)
    assert fuse_conv_bn(model.train()) == 2
    assert not model.training
    torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-5)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == [alone]  # no convolution is before it


def test_a_norm_that_does_more_stays():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), _trained(_NormWithActivation(4))).eval()
    images = torch.randn(2, 3, 4, 4)
    expected = model(images)
    assert fuse_conv_bn(model) == 0
    assert torch.equal(model(images), expected) and (expected == 0).any()
