"""PETR over ResNet-50: torchvision's weights are taken, the first stage stays, it trains."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from pftrack import models  # noqa: F401 (registers the components)
from pftrack.compatibility.libraries import MissingOperator
from pftrack.config import load_config
from pftrack.datasets.build import build_dataset
from pftrack.datasets.collate import collate_clips
from pftrack.paths import CODE
from pftrack.registry import build_model
from pftrack.training.pretrained import initialize

pytestmark = pytest.mark.slow
CONFIGS = CODE / "projects" / "configs" / "tracking" / "petr"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-50 as torchvision stores it, with its classifier."""
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), path)
    return path


def config(name: str, weights: Path, demo_data: Path, infos: Path) -> Any:
    return load_config(
        CONFIGS / f"{name}_r50_704x256.py",
        [
            f"model.img_backbone.init_cfg.checkpoint={str(weights)!r}",
            f"data.train.ann_file={str(infos)!r}",
            f"data.train.data_root={str(demo_data)!r}",
            "data.train.ida_aug_conf.final_dim=(64,96)",
            "data.train.ida_aug_conf.resize_lim=(0.08,0.1)",
            "data.train.num_frames_per_sample=1",
            "model.num_query=20",
        ],
    )


def test_it_starts_from_torchvisions_weights_and_trains(
    weights: Path, demo_data: Path, demo_infos: dict[str, Path]
) -> None:
    cfg = config("f1", weights, demo_data, demo_infos["train"])
    model = build_model(cfg.model)
    said: list[str] = []
    initialize(model, said.append)
    assert any("loaded 318 entries" in line for line in said)
    assert any("fc" in line and "skipped 2" in line for line in said)
    saved = torch.load(weights, weights_only=True)
    for name in ("conv1.weight", "layer4.2.conv3.weight", "bn1.running_var"):
        assert torch.equal(model.img_backbone.state_dict()[name], saved[name])

    model.train()
    batch = collate_clips([build_dataset(cfg, "train")[3]])
    assert batch.std == (1.0, 1.0, 1.0) and tuple(batch.img.shape[-2:]) == (64, 96)
    losses = model(batch.normalized())
    total = sum(value for name, value in losses.items() if "loss" in name)
    total.backward()
    assert torch.isfinite(total)
    gradients = {n: p.grad for n, p in model.img_backbone.named_parameters() if p.grad is not None}
    assert not any(name.startswith(("conv1", "layer1")) for name in gradients)
    assert gradients["layer2.0.conv1.weight"].abs().sum() > 0
    assert not any("bn" in name for name in gradients)  # norms are frozen


def test_step_two_is_step_one_with_reasoning(
    weights: Path, demo_data: Path, demo_infos: dict[str, Path]
) -> None:
    one, two = (
        build_model(config(step, weights, demo_data, demo_infos["train"]).model)
        for step in ("f1", "f3")
    )
    shapes = {name: value.shape for name, value in two.state_dict().items()}
    for name, value in one.state_dict().items():
        assert shapes[name] == value.shape, name
    reasoning = load_config(CONFIGS / "f3_q5_800x320.py").model
    mine = load_config(CONFIGS / "f3_r50_704x256.py").model
    for name in (
        "spatial_temporal_reason",
        "runtime_tracker",
        "motion_prediction",
        "if_update_ego",
    ):
        assert mine[name] == reasoning[name], name


def test_deformable_convolutions_say_what_they_need() -> None:
    """A ResNet with DCN is built everywhere; without mmcv's operator an image is one line."""
    dcn = {"type": "DCNv2", "deform_groups": 1, "fallback_on_stride": False}
    stages = [False, False, True, True]
    setting = {"type": "ResNet", "depth": 50, "dcn": dcn, "stage_with_dcn": stages}
    model = build_model({**setting, "out_indices": (2, 3), "norm_cfg": {"type": "BN"}})
    model.eval()
    assert model.layer3[0].conv2.conv_offset.out_channels == 27  # 2 x 9 offsets and 9 masks
    with torch.no_grad():
        if importlib.util.find_spec("mmcv._ext").origin is not None:  # the compiled one
            assert [m.shape[1] for m in model(torch.zeros(1, 3, 64, 64))] == [1024, 2048]
        else:
            with pytest.raises(MissingOperator, match=r"'modulated_deform_conv.*: make build$"):
                model(torch.zeros(1, 3, 64, 64))
