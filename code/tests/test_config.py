"""Configuration files: all of the published ones, overrides, and what is said when one is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pftrack.config import load_config, parse_value
from pftrack.errors import UserError
from pftrack.paths import CODE
from pftrack.registry import build_model
from pftrack.training.mm_config import read_settings

TRACKING = CODE / "projects" / "configs" / "tracking"
F3 = "projects/configs/tracking/petr/f3_q5_800x320.py"
PUBLISHED = {
    "petr": ("f1_%s_800x320", "f1_%s_1600x640", "f3_%s_800x320", "f3_%s_1600x640", "f5_%s_800x320"),
    "detr3d": ("f1_%s_800x320", "f1_%s_1600x640", "f3_%s_800x320", "f3_%s_1600x640"),
}
NAMES = [f"{family}/{name}" for family, names in PUBLISHED.items() for name in names]


@pytest.mark.parametrize("name", NAMES)
def test_published_configurations(name: str, golden_dir: Path) -> None:
    guide, release = (TRACKING / f"{name % scheme}.py" for scheme in ("q5", "q500"))
    assert len(guide.read_text().splitlines()) < 40
    cfg = load_config(guide)
    assert load_config(release)._cfg_dict == cfg._cfg_dict
    settings = read_settings(cfg)
    frames = int(name.split("/f")[1][0])
    full = "1600x640" in name
    assert cfg.data.train.num_frames_per_sample == frames
    assert settings.max_epochs == (24 if full and name != "detr3d/f1_%s_1600x640" else 12)
    assert settings.schedule.by_epoch and settings.states_fp16 and settings.tf32
    assert (settings.log_interval, settings.checkpoint.max_keep_ckpts) == (10, -1)
    assert settings.optimizer.lr == (1e-4 if frames == 5 else 2e-4)
    assert settings.optimizer.rules["img_backbone"].lr_mult == 0.1
    assert (settings.precision, settings.loss_scale, settings.grad_clip) == ("fp32", 512.0, 35.0)
    for split in ("train", "val", "test"):
        assert cfg.data[split].ida_aug_conf.final_dim == ((640, 1600) if full else (320, 800))
    assert cfg.data.train.ida_aug_conf.rand_flip == (frames == 1)
    assert cfg.model.train_backbone == (not (full and frames == 3))
    layout = golden_dir / f"state_dict_{(name % 'q500').replace('/', '_')}.json"
    with torch.device("meta"):
        state = build_model(cfg.model).state_dict()
    ours = {k: [*v.shape, str(v.dtype).removeprefix("torch.")] for k, v in state.items()}
    assert ours == json.loads(layout.read_text())


@pytest.mark.parametrize(
    "name, record, age, most, reasons, hist, fut, ego, forecast",
    [
        ("petr/f1_q5_800x320", 0.0, 1, 300, False, 3, 4, False, False),
        ("petr/f3_q5_800x320", 0.4, 7, 150, True, 3, 8, True, True),
        ("petr/f3_q5_1600x640", 0.4, 6, 150, True, 3, 8, True, True),
        ("petr/f5_q5_800x320", 0.4, 7, 150, True, 5, 8, True, True),
        ("detr3d/f3_q5_800x320", 0.0, 1, 300, False, 3, 8, True, False),
        ("detr3d/f3_q5_1600x640", 0.4, 5, 300, True, 3, 8, True, True),
    ],
)
def test_published_trackers(
    name: str, record: float, age: int, most: int, reasons: bool, hist: int, fut: int, ego: bool,
    forecast: bool,
) -> None:  # fmt: skip
    model = load_config(TRACKING / f"{name}.py").model
    assert model.runtime_tracker.record_threshold == record
    assert model.runtime_tracker.max_age_since_update == age
    assert model.pts_bbox_head.bbox_coder.max_num == most
    reasoning = model.spatial_temporal_reason
    assert reasoning.history_reasoning == reasoning.future_reasoning == reasons
    assert (reasoning.hist_len, reasoning.fut_len) == (hist, fut)
    assert model.if_update_ego == model.motion_prediction == ego
    assert model.motion_prediction_ref_update == forecast


def test_overrides() -> None:
    cfg = load_config(
        F3,
        [
            "optimizer.lr=3e-4",
            "data.train.ann_file=x_infos.pkl",
            "model.pts_bbox_head.transformer.decoder.transformerlayers.attn_cfgs.1.dropout=0",
            "model.train_backbone=False",
            "model.img_backbone.out_features=['stage4','stage5']",
            "load_from=none",
        ],
    )
    assert cfg.optimizer.lr == 3e-4 and cfg.data.train.ann_file == "x_infos.pkl"
    layers = cfg.model.pts_bbox_head.transformer.decoder.transformerlayers
    assert [a.dropout for a in layers.attn_cfgs] == [0.1, 0]
    assert cfg.model.train_backbone is False and cfg.load_from is None
    assert cfg.model.img_backbone.out_features == ["stage4", "stage5"]
    assert parse_value("[1, 2]") == [1, 2] and parse_value("a/b.pkl") == "a/b.pkl"


@pytest.mark.parametrize(
    "override, words",
    [
        ("optimizer.lrr=1", "did you mean 'lr'"),
        ("optimiser.lr=1", "no 'optimiser': did you mean 'optimizer'"),
        ("data.train.pipeline.0.type=x", "no 'data.train.pipeline'"),
        ("optimizer", "write it as key.subkey=value"),
        ("load_from.x=1", "has no settings below it"),
    ],
)
def test_wrong_overrides(override: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        load_config(F3, [override])
    assert words in str(error.value)


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist; shipped ones: .*f1_q5_800x320"):
        load_config("petr/f9.py")
    with pytest.raises(UserError, match="is a folder"):
        load_config("projects/configs")
    broken = tmp_path / "broken.py"
    broken.write_text("model = dict(\n")
    with pytest.raises(UserError, match="cannot be read"):
        load_config(broken)
    broken.write_text('_base_ = "./missing.py"\n')
    with pytest.raises(UserError, match=r"missing\.py.*check its _base_") as error:
        load_config(broken)
    assert "\n" not in str(error.value)
    broken.write_text('custom_imports = dict(imports=["no_such_package"])\n')
    with pytest.raises(UserError, match="no_such_package"):
        load_config(broken)
