"""Files of weights that a configuration names for a part are loaded, with a report, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pftrack.errors import UserError
from pftrack.registry import build_model
from pftrack.training.pretrained import initialize, pretrained_file

NECK = {"type": "FPN", "in_channels": [8, 16], "out_channels": 4, "num_outs": 2}


def neck_file(path: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    state = {
        f"{prefix}{k}": torch.full_like(v, 0.25) for k, v in build_model(NECK).state_dict().items()
    }
    torch.save({"state_dict": state}, path)
    return state


@pytest.mark.parametrize("prefix", ["", "img_neck."])
def test_our_own_parts_begin_with_the_file_that_is_named(tmp_path: Path, prefix: str) -> None:
    state = neck_file(tmp_path / "neck.pth", prefix)
    setting = {"type": "Pretrained", "checkpoint": str(tmp_path / "neck.pth"), "prefix": prefix}
    model = nn.ModuleDict({"img_neck": build_model({**NECK, "init_cfg": setting})})
    lines: list[str] = []
    initialize(model, lines.append)
    assert all(value.eq(0.25).all() for value in model.state_dict().values())
    assert lines[0].startswith(f"img_neck: loaded {len(state)} entries from")
    assert lines[1:] == ["img_neck: skipped 0", "img_neck: newly initialised 0"]


def test_weights_that_were_trained_on_rgb_see_the_same_in_bgr(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1))
    torch.save(trained.state_dict(), tmp_path / "rgb.pth")
    setting = {"type": "Pretrained", "checkpoint": str(tmp_path / "rgb.pth"), "channels": "rgb"}
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1))
    model.init_cfg = setting  # type: ignore[assignment]
    initialize(nn.ModuleDict({"img_backbone": model}), print)
    image = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(model(image.flip(1)), trained(image))
    neck_file(tmp_path / "rgb.pth")
    neck = build_model({**NECK, "init_cfg": setting})
    with pytest.raises(UserError, match=r"init_cfg of model .*reads images of three channels"):
        initialize(neck, print)
    neck.init_cfg = {**setting, "channels": "grey"}
    with pytest.raises(UserError, match=r"channels='grey': 'bgr' or 'rgb'"):
        initialize(neck, print)


def test_a_path_alone_is_enough(tmp_path: Path) -> None:
    neck_file(tmp_path / "neck.pth")
    model = build_model({**NECK, "pretrained": str(tmp_path / "neck.pth")})
    initialize(model, print)
    assert all(value.eq(0.25).all() for value in model.state_dict().values())


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"foo": torch.zeros(3)}}, tmp_path / "other.pth")
    setting = {"type": "Pretrained", "checkpoint": str(tmp_path / "other.pth")}
    model = build_model({**NECK, "init_cfg": setting})
    with pytest.raises(
        UserError, match=r"init_cfg of model .*other\.pth' is a checkpoint of another"
    ):
        initialize(model, print)
    model = build_model({**NECK, "init_cfg": {**setting, "checkpoint": str(tmp_path / "none.pth")}})
    with pytest.raises(UserError, match="init_cfg of model in the config: no checkpoint"):
        initialize(model, print)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torchvision://resnet99", "published nothing of that name"),
        ("open-mmlab://nothing", "published nothing of that name"),
        ("ftp://x/y.pth", "no way to 'ftp://'"),
    ],
)
def test_names_that_nobody_has_published(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        pretrained_file(name)


def test_published_names_are_downloaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    asked: list[str] = []

    def download(url: str, file: str, **_options: Any) -> None:
        asked.append(url)
        Path(file).write_text(json.dumps(url))

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    first = pretrained_file("torchvision://resnet18")
    assert first == pretrained_file("torchvision://resnet18")
    assert asked == ["https://download.pytorch.org/models/resnet18-f37072fd.pth"]

    def fail(url: str, file: str, **_options: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(UserError, match=r"cannot be downloaded from https:.*no route to host"):
        pretrained_file("open-mmlab://detectron2/resnet50_caffe")
