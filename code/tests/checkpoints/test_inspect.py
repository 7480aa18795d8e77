"""make inspect: which model a file fits, what is broken in it, what changed."""

import json
import math
from pathlib import Path

import pytest
import torch

from pftrack.checkpoints import fit
from pftrack.checkpoints.fit import (
    CODE,
    choose_config,
    config_of_checkpoint,
    fits,
    known_models,
    meta_image_size,
)
from pftrack.checkpoints.inspect import inspect_checkpoint, render
from pftrack.checkpoints.manifest import load_manifest
from pftrack.checkpoints.statistics import (
    by_module,
    check_health,
    count_values,
    difference,
)
from pftrack.errors import UserError

DTYPES = {"float32": torch.float32, "int64": torch.int64}


def original_layout(golden: Path, name: str) -> dict[str, torch.Tensor]:
    """Keys, shapes and dtypes of an original checkpoint; one number per entry keeps it small."""
    listed = json.loads((golden / f"state_dict_{name}.json").read_text())
    return {
        key: torch.full((), i % 7, dtype=DTYPES[dtype]).expand(shape)
        for i, (key, (*shape, dtype)) in enumerate(listed.items())
    }


def models_of(golden: Path) -> list:
    """The models of the original configurations, by their key lists."""
    groups: dict[str, tuple[list[str], dict]] = {}
    for path in sorted(golden.glob("state_dict_*_*x*.json")):
        listed = json.loads(path.read_text())
        shapes = {key: tuple(entry[:-1]) for key, entry in listed.items()}
        name = path.stem.removeprefix("state_dict_")
        groups.setdefault(json.dumps(sorted(listed.items())), ([], shapes))[0].append(name)
    return list(groups.values())


@pytest.fixture(scope="module")
def configured_models():
    """(configurations, shapes) of every configuration file."""
    return known_models()


@pytest.mark.slow
def test_every_original_checkpoint_finds_its_configuration(golden_dir, configured_models):
    """By keys and shapes alone; nine original configurations, and ours under both names."""
    names = sorted(golden_dir.glob("state_dict_*_*x*.json"))
    assert len(names) == 9
    for path in names:
        family, config = path.stem.removeprefix("state_dict_").split("_", 1)
        ranked = fits(original_layout(golden_dir, f"{family}_{config}"), configured_models)
        assert ranked[0].exact, path.name
        assert f"projects/configs/tracking/{family}/{config}.py" in ranked[0].configs


META = {
    "epoch": 24,
    "iter": 674424,
    "mmcv_version": "1.4.0",
    "CLASSES": ("car", "truck"),
    "config": "ida_aug_conf = {\n 'resize_lim': (0.94, 1.25), 'final_dim': (640, 1600), }",
}


@pytest.mark.parametrize("name", ["petr_f3_q500_1600x640", "detr3d_f1_q500_800x320"])
def test_original_layout_fits_its_configurations_only(golden_dir, tmp_path, name):
    weights = original_layout(golden_dir, name)
    ranked = fits(weights, models_of(golden_dir))
    assert ranked[0].exact and name in ranked[0].configs
    assert not any(other.exact for other in ranked[1:])


def test_report_of_an_original_checkpoint(golden_dir, tmp_path):
    weights = original_layout(golden_dir, "petr_f3_q500_1600x640")
    path = tmp_path / "final.pth"
    torch.save({"meta": META, "state_dict": {f"module.{k}": v for k, v in weights.items()}}, path)
    info = inspect_checkpoint(path, models=models_of(golden_dir))
    json.dumps(info)
    assert info["config"] == "petr_f3_q500_1600x640" and info["image_size"] == "1600x640"
    assert info["meta"]["epoch"] == 24 and info["entries"] == len(weights)
    text = render(info)
    assert "fits exactly" in text and "epoch: 24" in text and "img_backbone" in text


def test_partial_checkpoint_is_summarised_by_module(golden_dir, tmp_path):
    """An f1 detector against all models: the reasoning is what f3 has and it lacks."""
    weights = original_layout(golden_dir, "petr_f1_q500_800x320")
    f3 = json.loads((golden_dir / "state_dict_petr_f3_q500_800x320.json").read_text())
    path = tmp_path / "f1.pth"
    weights["reference_points.weight"] = torch.zeros(300, 3)
    weights["ema.w"] = torch.zeros(1)
    torch.save(weights, path)
    shapes = {key: tuple(entry[:-1]) for key, entry in f3.items()}
    info = inspect_checkpoint(path, models=[(["f3"], shapes)])
    assert info["config"] is None
    (found,) = info["fits"]
    assert "STReasoner" in found["missing"] and found["unexpected"] == {"ema": 1}
    assert found["mismatched"] == [
        {"entry": "reference_points.weight", "file": [300, 3], "model": [500, 3]}
    ]
    text = render(info)
    assert "no configuration fits exactly" in text
    assert "reference_points.weight: file [300, 3], model [500, 3]" in text


def test_statistics_by_hand():
    shared = torch.tensor([[3.0, 4.0]])
    weights = {
        "head.0.weight": shared,
        "head.1.weight": shared,
        "head.bn.running_mean": torch.tensor([100.0]),
        "head.bn.num_batches_tracked": torch.tensor(7),
        "neck.weight": torch.ones(2, 2, dtype=torch.float16),
    }
    stats = by_module(weights)
    assert stats["head"].norm == 5 and stats["head"].largest == 4
    assert stats["head"].values == 4 and stats["head"].entries == 4
    assert stats["head"].rms == pytest.approx(math.sqrt(12.5))
    assert stats["neck"].norm == 2
    assert count_values(weights) == 8


def test_broken_and_dead_weights_are_named():
    weights = {
        "a.weight": torch.tensor([[1.0, math.nan], [math.inf, 0]]),
        "b.weight": torch.zeros(2, 3),
        "c.weight": torch.tensor([[1.0, 2.0], [0.0, 0.0]]),
        "d.weight": torch.full((2, 2), 0.5),
        "e.bias": torch.zeros(3),
        "f.running_var": torch.tensor([-1.0, 1.0]),
        "g.num_batches_tracked": torch.tensor(0),
    }
    health = check_health(weights)
    assert health.non_finite == {"a.weight": 2} and not health.sound
    assert health.zero == ["b.weight"] and health.dead_rows == {"c.weight": 1}
    assert health.constant == ["d.weight"] and health.bad_variance == ["f.running_var"]


def test_difference_by_hand():
    there = {"h.w": torch.tensor([3.0, 4.0]), "h.b": torch.ones(2), "x": torch.zeros(1)}
    here = {"h.w": torch.tensor([3.0, 9.0]), "h.b": torch.ones(2), "s": torch.zeros(1)}
    d = difference(here, there)
    assert d.only_here == ["s"] and d.only_there == ["x"] and d.equal == 1
    assert d.changed == {"h.w": pytest.approx(1.0)}
    assert d.by_module["h"] == pytest.approx(5 / math.sqrt(27))


def test_image_size_chooses_between_equal_models():
    names = [
        "p/f3_q500_1600x640.py",
        "p/f3_q500_800x320.py",
        "p/f3_q5_1600x640.py",
        "p/f3_q5_800x320.py",
    ]
    assert choose_config(names, None) == "p/f3_q5_800x320.py"
    assert choose_config(names, "1600x640") == "p/f3_q5_1600x640.py"
    assert choose_config(names, "800x320", "f3_q500_1600x640.py") == "p/f3_q500_1600x640.py"
    assert meta_image_size(META) == "1600x640"
    assert meta_image_size({"config": "final_dim=(320, 800)"}) == "800x320"
    assert meta_image_size({}) is None


@pytest.mark.slow
def test_config_of_unknown_weights(tmp_path, monkeypatch, configured_models):
    monkeypatch.setattr(fit, "known_models", lambda: configured_models)
    path = tmp_path / "other.pth"
    torch.save({"encoder.w": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="no configuration fits"):
        config_of_checkpoint(path)


@pytest.mark.slow
def test_config_of_published_and_own_checkpoints(
    golden_dir, tmp_path, monkeypatch, configured_models
):
    monkeypatch.setattr(fit, "known_models", lambda: configured_models)
    path = tmp_path / "latest.pth"
    weights = original_layout(golden_dir, "petr_f3_q500_1600x640")
    torch.save({"state_dict": weights, "meta": META}, path)
    assert config_of_checkpoint(path) == CODE / "projects/configs/tracking/petr/f3_q5_1600x640.py"
    torch.save({"state_dict": weights, "meta": {"exp_name": "f5_q500_800x320.py"}}, path)
    assert config_of_checkpoint(path).name == "f5_q500_800x320.py"


def test_manifest_names_configurations_that_exist():
    for file in load_manifest().files:
        assert file.config is None or (CODE / file.config).is_file()
