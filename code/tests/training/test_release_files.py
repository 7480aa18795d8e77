"""The original's nine configuration files: each setting counts, or is named as without effect."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import release_files
import torch
from torch import nn

import pftrack.models  # noqa: F401 (registers the components)
from pftrack.config import load_config
from pftrack.datasets.build import build_dataset
from pftrack.datasets.class_names import SPLITS
from pftrack.errors import UserError
from pftrack.paths import CODE
from pftrack.plugins import import_plugins
from pftrack.registry import build_model
from pftrack.stated import without_effect
from pftrack.training.mm_config import read_settings

TRACKING = CODE / "projects" / "configs" / "tracking"


# --- what a configuration amounts to --------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value with everything of ours in it taken apart, so that values compare as text."""
    if isinstance(value, nn.Module):
        return type(value).__name__
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, (list, tuple, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if type(value).__module__.startswith("pftrack."):
        return type(value).__name__, plain(dict(sorted(vars(value).items())))
    return getattr(value, "__name__", value)


def parts_of_model(section: Mapping[str, Any]) -> dict[str, str]:
    """Kind, shapes and plain attributes of every module of a model."""
    with torch.device("meta"):
        model = build_model(section)
    return {
        name: repr([
            type(module).__name__,
            {k: plain(v) for k, v in vars(module).items() if k not in ("stage", "_modules")},
        ])
        for name, module in model.named_modules()
    }  # fmt: skip


def parts_of_dataset(cfg: Mapping[str, Any], split: str) -> dict[str, str]:
    """What a dataset will do, from its attributes."""
    attributes = vars(build_dataset(cfg, split))
    return {k: repr(plain(v)) for k, v in attributes.items() if k not in ("infos", "scenes")}


def with_data(flat: dict[str, Any], root: Path, infos: dict[str, Path]) -> dict[str, Any]:
    """The settings with the info files of the tests' data."""
    changed = dict(flat)
    for split in SPLITS:
        changed[f"data.{split}.data_root"] = str(root)
        changed[f"data.{split}.ann_file"] = str(infos["train" if split == "train" else "val"])
    return changed


# --- all of them are accepted ---------------------------------------------------------------------

# What the log names, by the file's family, where its kind of training does not say otherwise.
POINTS = "data.train.pipeline.LoadPointsFromFile (no model here reads points)"
NAMED = {
    "petr": [
        POINTS,
        "data.visualization (tools/make_video.py",
        "model.train_cfg.pts.voxel_size (there are no voxels)",
        "evaluation.pipeline (evaluation is streaming tracking of data.val)",
    ],
    "detr3d": [
        POINTS,
        "data.visualization (tools/make_video.py",
        "model.pts_bbox_head.sync_cls_avg_factor (matching and losses are those of model.loss)",
        "model.train_cfg.pts.voxel_size (there are no voxels)",
        "model.pts_bbox_head.positional_encoding (DETR3D",
        "evaluation.pipeline (evaluation is streaming tracking of data.val)",
    ],
}
REASONING_OFF = "spatial_temporal_reason.spatial_transformer"
CLIPS = "num_frames_per_sample (testing goes frame by frame)"


@pytest.mark.parametrize("name", release_files.NAMES)
def test_every_setting_is_accepted(
    name: str, tmp_path: Path, demo_data: Path, demo_infos: dict[str, Path]
) -> None:
    flat = release_files.settings(name)
    assert len(flat) > 440
    cfg = load_config(release_files.write(tmp_path, name))
    notes = list(read_settings(cfg).notes)
    expected = list(NAMED[name.split("/")[0]])
    if not flat["model.spatial_temporal_reason.history_reasoning"]:
        expected.append(REASONING_OFF)
    if max(flat[f"data.{split}.num_frames_per_sample"] for split in ("val", "test")) > 1:
        expected.append(CLIPS)
    for words in expected:
        assert sum(words in note for note in notes) == 1, words
    assert len(notes) == len(expected)
    assert parts_of_model(cfg.model)
    tree = release_files.nested(with_data(flat, demo_data, demo_infos))
    for split in SPLITS:
        assert len(build_dataset(tree, split)) == 6


@pytest.mark.parametrize("name", release_files.NAMES)
def test_our_configuration_of_that_name_is_the_same(
    name: str, tmp_path: Path, demo_data: Path, demo_infos: dict[str, Path]
) -> None:
    theirs = load_config(release_files.write(tmp_path, name))
    ours = load_config(TRACKING / f"{name}.py")
    differing = {}
    models = parts_of_model(theirs.model), parts_of_model(ours.model)
    assert models[0].keys() == models[1].keys()
    differing = {k for k in models[0] if models[0][k] != models[1][k]}
    # The coder's voxel size; and a frozen backbone that could recompute its blocks, but need not.
    assert differing <= {"", "img_backbone"}
    for cfg in (theirs, ours):
        cfg.data.train.update(ann_file=demo_infos["train"], data_root=demo_data)
    assert parts_of_dataset(theirs, "train") == parts_of_dataset(ours, "train")
    first, second = read_settings(theirs), read_settings(ours)
    for field in fields(first):
        if field.name != "notes":
            assert getattr(first, field.name) == getattr(second, field.name), field.name


@pytest.mark.parametrize("path", sorted(TRACKING.glob("*/*.py")), ids=lambda p: p.stem)
def test_our_own_configurations_state_nothing_without_effect(path: Path) -> None:
    assert read_settings(load_config(path)).notes == ()


# --- none is passed over in silence ---------------------------------------------------------------

# Settings that may be changed without a word, and why.
FREE = {
    "plugin": "ours need no import",
    "work_dir": "of the command, not of the training",
    "model.loss.code_weights": "a tensor, which has no values on the meta device",
}
FREE_ENDS = {
    ".keys": "clips are typed",
    ".add_extra_convs": "about levels that are added, and none is",
    ".relu_before_extra_convs": "the same",
}


HELPERS = (
    "data_root",
    "dataset_type",
    "file_client_args",
    "ida_aug_conf",
    "img_norm_cfg",
    "input_modality",
    "point_cloud_range",
    "test_pipeline",
    "test_pipeline_multiframe",
    "train_pipeline",
    "train_pipeline_multiframe",
    "voxel_size",
)


def changed(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float) and 0 <= value < 1:
        return (value + 1) / 2
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, list):
        return [changed(value[0]), *value[1:]] if value else [1]
    return f"{value}x"


def by_type(tree: Any, key: str) -> str:
    """A dotted name with the type of a component in the place of its position in a list."""
    parts = []
    for part in key.split("."):
        listed = isinstance(tree, list)
        tree = tree[int(part) if listed else part]
        parts.append(tree["type"] if listed else part)
    return ".".join(parts)


class Outcome:
    """What a configuration amounts to, part by part; equal parts are built once."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def __call__(self, tree: dict[str, Any]) -> list[Any]:
        """Settings, model and datasets, or the mistake that was named."""
        try:
            import_plugins(tree, CODE / "x.py")
            parts = [repr(read_settings(tree))]
            parts.append(self._once("model", tree["model"], lambda: parts_of_model(tree["model"])))
            for split in SPLITS:
                parts.append(
                    self._once(
                        split,
                        (tree["data"][split], tree["model"]["num_classes"]),
                        lambda split=split: parts_of_dataset(tree, split),
                    )
                )
            return parts
        except UserError as error:
            assert "\n" not in str(error)
            return [str(error)]

    def _once(self, kind: str, key: Any, build: Callable[[], Any]) -> Any:
        text = kind + json.dumps(key)
        if text not in self.known:
            self.known[text] = build()
        return self.known[text]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["petr/f3_q500_800x320", "detr3d/f3_q500_1600x640"])
def test_no_setting_is_passed_over_in_silence(
    name: str, demo_data: Path, demo_infos: dict[str, Path]
) -> None:
    """Each setting in turn gets another value: that changes something, is refused or is named."""
    flat = with_data(release_files.settings(name), demo_data, demo_infos)
    # Helper variables would be named as soon as the settings made from them change.
    flat = {key: value for key, value in flat.items() if key.split(".")[0] not in HELPERS}
    flat["model.img_backbone.spec_name"] = "V-19-slim-dw-eSE"  # small, and none of it in question
    stages = len(flat["model.img_neck.in_channels"])
    flat["model.img_neck.in_channels"] = [112, 256, 384, 512][-stages:]
    flat["model.pts_bbox_head.transformer.decoder.num_layers"] = 1
    outcome = Outcome()
    before = outcome(release_files.nested(flat))
    assert len(before) > 1, before
    tree = release_files.nested(flat)
    named = tuple(path for paths in without_effect(tree).values() for path in paths)
    tried = [
        key
        for key in flat
        if not by_type(tree, key).startswith(named)
        and key not in FREE
        and not key.endswith(tuple(FREE_ENDS))
    ]
    assert len(tried) > 300
    silent = [
        key
        for key in tried
        if outcome(release_files.nested({**flat, key: changed(flat[key])})) == before
    ]
    assert silent == []


@pytest.mark.parametrize("helper", [*HELPERS, "class_names"])
def test_a_helper_variable_that_is_changed_alone_is_named(helper: str) -> None:
    """``--cfg-options point_cloud_range=...`` changes no setting that was made from it."""
    tree = release_files.nested(release_files.settings("petr/f3_q500_800x320"))
    assert not any("nothing reads" in note for note in read_settings(tree).notes)
    inner, key = tree, helper
    while isinstance(inner[key], (dict, list)):
        inner = inner[key]
        key = next(iter(inner)) if isinstance(inner, dict) else 0
    inner[key] = changed(inner[key])
    assert any(f"nothing reads: {helper} " in note for note in read_settings(tree).notes)
