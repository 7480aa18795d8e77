"""Backbones in the layouts of other programs are recognised, weight by weight, and said."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_model import small_model
from torch import nn

from pftrack.checkpoints.reading import load_into
from pftrack.errors import UserError
from pftrack.registry import build_model

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    """A ResNet-18 under torchvision's names, which are mmdet's (test_resnet.py)."""
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    model: nn.Module = torchvision.models.resnet18()
    model.fc = nn.Identity()
    return model


@pytest.fixture(scope="module")
def vovnet() -> nn.Module:
    return build_model({"type": "VoVNet", "spec_name": "V-19-tiny-eSE"})


def random_weights(model: nn.Module) -> Weights:
    torch.manual_seed(3)
    return {k: torch.randn(v.shape) for k, v in model.state_dict().items() if v.dim()}


def prefixed(prefix: str, weights: Weights) -> Weights:
    return {prefix + key: value for key, value in weights.items()}


def as_detectron2(weights: Weights) -> Weights:
    """detectron2's names, by its own rules: a norm lies in its convolution."""
    names = {}
    for key, value in weights.items():
        name = re.sub(r"^(conv1|bn1)\.", lambda m: f"stem.{m[1]}.", key)
        name = re.sub(r"^layer(\d)\.", lambda m: f"res{int(m[1]) + 1}.", name)
        name = re.sub(r"bn(\d)\.", r"conv\1.norm.", name)
        name = name.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
        names[f"backbone.bottom_up.{name}"] = value
    return names


RESNETS: dict[str, tuple[Callable[[Weights], Weights], dict[str, Any], str]] = {
    "torchvision": (lambda w: w, {"fc.weight": torch.zeros(5, 5)}, ""),
    "PETR": (lambda w: prefixed("img_backbone.", w), {"img_neck.a": torch.zeros(1)}, "PETR"),
    "DETR": (lambda w: prefixed("backbone.0.body.", w), {"bbox_embed.a": torch.zeros(1)}, "DETR"),
    "mmdetection": (lambda w: prefixed("backbone.", w), {"neck.a": torch.zeros(1)}, "mmdetection"),
    "detectron2": (as_detectron2, {"proposal_generator.a": torch.zeros(1)}, "detectron2"),
}


@pytest.mark.parametrize("whose", RESNETS)
def test_resnets(resnet: nn.Module, whose: str) -> None:
    rename, others, words = RESNETS[whose]
    weights = random_weights(resnet)
    report = load_into(resnet, {"model": {**rename(weights), **others}})
    assert len(report.loaded) == len(weights) and report.skipped == list(others)
    for name, value in resnet.state_dict().items():
        assert name.endswith("num_batches_tracked") or torch.equal(value, weights[name]), name
    said = report.summary().splitlines()
    assert re.match(rf"loaded {len(weights)} entries from .*conv1 1", said[0])
    assert said[1].startswith("skipped 1: 1 unknown")
    assert said[2].startswith(f"newly initialised {len(report.missing)}: ")
    assert said[-1] == "what is newly initialised counts the batches that batch norms saw"
    assert bool(words) == (len(said) == 5)
    if words:
        assert said[3].startswith(f"names are those of {words}") and "conv1.weight is" in said[3]


@pytest.mark.parametrize("prefix", ["img_backbone.", "backbone.bottom_up.", "backbone."])
def test_vovnets_of_petr_dd3d_and_fcos3d(vovnet: nn.Module, prefix: str) -> None:
    weights = random_weights(vovnet)
    load_into(vovnet, {"state_dict": prefixed(prefix, weights)})
    name = "stage3.OSA3_1.layers.0.OSA3_1_0/conv.weight"
    assert torch.equal(vovnet.state_dict()[name], weights[name])


def test_into_a_whole_model() -> None:
    """``load_from`` of a detector's file: its backbone finds its place."""
    model = nn.ModuleDict({"img_backbone": small_model()["img_backbone"], "neck": nn.Linear(2, 2)})
    weights = random_weights(model["img_backbone"])
    report = load_into(model, prefixed("backbone.0.body.", weights))
    assert torch.equal(model["img_backbone"][0].weight, weights["0.weight"])
    assert "backbone.0.body.0.weight is img_backbone.0.weight here" in report.summary()


def test_own_names_come_first() -> None:
    """A file whose names fit as they are is not renamed, however many others would fit."""
    model = small_model()
    weights = {k: v + 1 for k, v in model.state_dict().items()}
    weights |= prefixed("backbone.", random_weights(model["img_backbone"]))
    report = load_into(model, weights)
    assert len(report.loaded) == 9 and not report.remarks
    assert torch.equal(model["img_backbone"][0].weight, weights["img_backbone.0.weight"])


def test_a_backbone_of_another_size_is_refused(vovnet: nn.Module) -> None:
    other = build_model({"type": "VoVNet", "spec_name": "V-19-slim-eSE"})
    with pytest.raises(UserError, match="is a checkpoint of another model"):
        load_into(vovnet, prefixed("backbone.bottom_up.", random_weights(other)))
