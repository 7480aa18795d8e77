"""timm's models as backbones: maps, weights in timm's own layouts, what is frozen."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from tiny_tracker import clip, tiny_tracker

from pftrack.checkpoints.reading import load_into
from pftrack.errors import UserError
from pftrack.models.backbones.timm_backbone import TimmBackbone
from pftrack.registry import build_model

INSTALL = "timm is an optional part: make setup RUNTIME=native ARGS=timm"


def test_without_timm_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match="make setup RUNTIME=native ARGS=timm") as error:
        build_model({"type": "TimmBackbone", "model_name": "resnet18"})
    assert "\n" not in str(error.value)


# One for each of timm's ways to name an extractor's weights.
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("resnet18", {}),
        ("convnext_atto", {"out_indices": [2, 3]}),
        (
            "swin_tiny_patch4_window7_224",
            {"out_indices": [2, 3], "options": {"img_size": [64, 96], "depths": [1, 1, 1, 1]}},
        ),
        (
            "vit_tiny_patch16_224",
            {"out_indices": [10, 11], "options": {"img_size": [64, 96]}},
        ),
    ],
)
def test_maps_and_whole_models_weights(name: str, settings: dict[str, Any]) -> None:
    timm = pytest.importorskip("timm", reason=INSTALL)
    backbone = build_model({"type": "TimmBackbone", "model_name": name, **settings}).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 64, 96))
    assert [m.shape[1] for m in maps] == backbone.channels
    assert all(m.shape[2] * 3 == m.shape[3] * 2 for m in maps)

    torch.manual_seed(5)
    whole = timm.create_model(name, **settings.get("options", {})).state_dict()
    whole = {k: torch.randn(v.shape) if v.is_floating_point() else v for k, v in whole.items()}
    report = load_into(backbone, whole)
    assert not report.missing and not report.mismatched
    assert all("head" in key or key.startswith(("fc", "norm")) for key in report.skipped)
    values = {round(v.double().sum().item(), 3) for v in whole.values()}
    for value in backbone.state_dict().values():
        assert round(value.double().sum().item(), 3) in values


def test_a_tracker_trains_over_it() -> None:
    pytest.importorskip("timm", reason=INSTALL)
    model = tiny_tracker(
        img_backbone={"type": "TimmBackbone", "model_name": "resnet18", "out_indices": [3, 4]},
        img_neck={"type": "CPFPN", "in_channels": [256, 512], "out_channels": 32, "num_outs": 2},
    ).train()
    losses = model(clip([[2]]))
    sum(value for name, value in losses.items() if "loss" in name).backward()
    assert model.img_backbone.features.conv1.weight.grad.abs().sum() > 0


def test_what_is_frozen() -> None:
    pytest.importorskip("timm", reason=INSTALL)
    setting = {"type": "TimmBackbone", "model_name": "resnet18"}
    backbone = TimmBackbone("resnet18", frozen=["conv1", "bn1", "layer1"], norm_eval=False)
    backbone.train()
    backbone(torch.randn(2, 3, 64, 64))[1].sum().backward()
    learned = {n for n, p in backbone.named_parameters() if p.grad is not None}
    assert not any(n.startswith(("features.conv1", "features.layer1")) for n in learned)
    assert "features.layer2.0.conv1.weight" in learned
    assert not backbone.features.bn1.training and backbone.features.layer2[0].bn1.training
    with pytest.raises(UserError, match=r"frozen='stem' names no weight of resnet18, whose parts"):
        build_model({**setting, "frozen": ["stem"]})
    with pytest.raises(UserError, match="timm has no 'resnet8' with the maps"):
        build_model({"type": "TimmBackbone", "model_name": "resnet8"})
    with pytest.raises(UserError, match="timm has no 'resnet18' with the maps"):
        build_model({**setting, "out_indices": [9]})
