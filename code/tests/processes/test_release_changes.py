"""What users of the release change in its files, one by one: it has the effect it had there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import release_files
import torch
from training_toy import logged

from pftrack.config import load_config
from pftrack.datasets.build import build_dataset
from pftrack.errors import UserError
from pftrack.structures import CLASSES, TRACKING_CLASSES
from pftrack.tracking.api import load_tracker
from pftrack.training.mm_config import read_settings

F1, F3, DETR = "petr/f1_q500_800x320", "petr/f3_q500_800x320", "detr3d/f3_q500_800x320"
PARTS = ("", "pts_bbox_head.", "pts_bbox_head.bbox_coder.", "loss.")

Changes = dict[str, Any]


def with_classes(names: list[str]) -> Changes:
    """What follows from ``class_names`` in a file, and the numbers stated beside it."""
    changes: Changes = {"class_names": names, "data.train.pipeline.4.classes": names}
    changes |= {f"data.{s}.classes": names for s in ("train", "val", "test", "test_tracking")}
    return changes | {f"model.{part}num_classes": len(names) for part in PARTS}


def changed_file(folder: Path, name: str, changes: Changes, drop: str = "-") -> Path:
    """The file ``name`` with other values, without the settings that begin with ``drop``."""
    flat = release_files.settings(name)
    kept = {key: value for key, value in flat.items() if not key.startswith(drop)}
    return release_files.write(folder, name, kept | changes)


@pytest.fixture
def train(tmp_path: Path, demo_data: Path, demo_infos: dict[str, Path]) -> Callable[..., Path]:
    """Trains a changed file for a step and returns its checkpoint."""

    def run(name: str, changes: Changes, drop: str = "-") -> Path:
        config = changed_file(tmp_path, name, changes, drop)
        options = [
            option
            for option in release_files.small(name, demo_data, demo_infos)
            if option.split("=")[0] not in changes and not option.startswith(drop)
        ]
        command = [config, "--work-dir", tmp_path / "run", "--load-from", "none", "--cfg-options"]
        assert release_files.train(*command, *options, "runner.max_iters=1") == 0
        return tmp_path / "run" / "iter_1.pth"

    return run


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def terms(checkpoint: Path) -> set[str]:
    """Names of the losses in the log."""
    (log,) = checkpoint.parent.glob("*.log.json")
    return {name for name in json.loads(log.read_text().splitlines()[-1]) if "loss" in name}


# --- classes --------------------------------------------------------------------------------------


def test_eight_classes_in_another_order(
    train: Any, tmp_path: Path, demo_data: Path, demo_infos: dict[str, Path]
) -> None:
    names = ["barrier", *reversed(TRACKING_CLASSES)]
    checkpoint = train(F1, with_classes(names))
    content = torch.load(checkpoint, weights_only=True)
    assert content["meta"]["CLASSES"] == names
    assert content["state_dict"]["pts_bbox_head.cls_branches.0.6.weight"].shape[0] == 8
    config = tmp_path / "tracking" / f"{F1}.py"
    options = release_files.small(F1, demo_data, demo_infos)
    tracker = load_tracker(load_config(config, options), checkpoint, device="cpu")
    assert tracker.classes == tuple(names)
    # The release tracks the first seven classes, whichever they are; here those of the benchmark.
    assert list(tracker.thresholds.tracked_labels) == list(range(1, 8))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data.train.classes": [*CLASSES[:8]]}, "'data.train.classes' and 'data.val.classes'"),
        ({"model.num_classes": 8}, "'model.num_classes' in the config is 8, but"),
        ({"model.loss.num_classes": 8}, r"model\.loss\.num_classes' in the config is 8"),
        ({"model.pts_bbox_head.num_classes": 8}, r"pts_bbox_head\.num_classes' in the config is 8"),
        (
            {"model.pts_bbox_head.bbox_coder.num_classes": 8},
            r"bbox_coder\.num_classes' in the config is 8, but 'data\.train\.classes' has 10",
        ),
        (with_classes(["car", "car"]), "a class stands there twice"),
        (with_classes(["car", "tram"]), "'tram' is no class of nuScenes"),
        ({"data.train.pipeline.4.classes": ["car"]}, "the class 'truck', which its TrackObject"),
        ({"model.pc_range": [-50, -50, -5, 50, 50, 3]}, "pc_range of its box coder"),
        ({"model.spatial_temporal_reason.pc_range": [0, 0, 0, 1, 1, 1]}, "spatial_temporal_reason"),
        ({"model.loss.assigner.iou_cost.weight": 1.0}, r"iou_cost has weight 1\.0"),
        ({"model.loss.loss_iou.loss_weight": 0.5}, "loss_iou has a weight"),
        ({"model.pts_bbox_head.as_two_stage": True}, "as_two_stage=True' in the config"),
        ({"model.pretrained": "x.pth"}, "pretrained=x.pth' in the config"),
        ({"model.train_cfg.rcnn": {}}, "unknown setting 'train_cfg.rcnn'"),
        ({"data.train.forecasting": False}, "future_reasoning=True in the config learns from"),
        ({"data.train.test_mode": True}, "test_mode=True is not for training"),
        ({"data.train.pipeline_multiframe.0.training": False}, "has training=False"),
        ({"data.nonshuffler_sampler": {"type": "MySampler"}}, "nonshuffler_sampler=MySampler'"),
        ({"custom_hooks": [{"type": "EMAHook"}]}, "'EMAHook' is not supported"),
    ],
)
def test_what_does_not_fit_together_is_one_line(
    changes: Changes,
    words: str,
    tmp_path: Path,
    demo_data: Path,
    demo_infos: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = changed_file(tmp_path, F3, changes)
    options = release_files.small(F3, demo_data, demo_infos)
    command = [config, "--work-dir", tmp_path / "run", "--dry-run", "--load-from", "none"]
    assert release_files.train(*command, "--cfg-options", *options) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    with pytest.raises(UserError, match=words):
        raise UserError(line)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"model.train_cfg.pts.assigner.cls_cost.weight": 3.0},
            "model.train_cfg.pts.assigner (matching and losses are those of model.loss)",
        ),
        (
            {"model.pts_bbox_head.loss_iou.loss_weight": 0.5},
            "model.pts_bbox_head.loss_iou (matching and losses are those of model.loss)",
        ),
        ({"total_epochs": 24}, "total_epochs=24 in the config: runner.max_epochs counts"),
        ({"log_level": "DEBUG"}, "log_level (the log has one level)"),
        ({"dist_params.backend": "gloo"}, "dist_params (the backend follows the device"),
        ({"checkpoint_config.out_dir": "x"}, "checkpoint_config.out_dir (checkpoints go to"),
        ({"custom_hooks": [{"type": "EmptyCacheHook"}]}, "custom_hooks.EmptyCacheHook (torch"),
    ],
)
def test_what_contradicts_what_is_done_is_named(
    changes: Changes, words: str, tmp_path: Path
) -> None:
    notes = read_settings(load_config(changed_file(tmp_path, F3, changes))).notes
    assert sum(words in note for note in notes) == 1
    assert not any(words in note for note in read_settings(release_files_tree()).notes)


def release_files_tree() -> dict[str, Any]:
    return release_files.nested(release_files.settings(F3))


def test_known_samplers_and_hooks_go_without_saying() -> None:
    tree = release_files_tree()
    before = read_settings(tree).notes
    tree["data"]["shuffler_sampler"] = {"type": "DistributedGroupSampler"}
    tree["data"]["nonshuffler_sampler"] = {"type": "DistributedSampler"}
    tree["custom_hooks"] = [{"type": "NumClassCheckHook"}, {"type": "DistSamplerSeedHook"}]
    assert read_settings(tree).notes == before


# --- sizes ----------------------------------------------------------------------------------------


def test_number_of_queries(train: Any) -> None:
    state = weights(train(DETR, {"model.num_query": 30}))
    assert state["reference_points.weight"].shape == (30, 3)
    assert state["query_feat_embedding.weight"].shape[0] == 30


def test_frames_of_a_clip(train: Any) -> None:
    found = terms(train(F3, {"data.train.num_frames_per_sample": 2}))
    assert "f0.loss_mem_cls" in found and not any(name.startswith("f1.") for name in found)


def test_image_size(train: Any, demo_data: Path, demo_infos: dict[str, Path]) -> None:
    image = "data.train.pipeline_multiframe.0.data_aug_conf"
    changes = {f"{image}.final_dim": [80, 192], f"{image}.resize_lim": [0.12, 0.13]}
    train(F1, changes)
    tree = release_files.nested(release_files.settings(F1) | changes)
    dataset = build_dataset(tree, data_root=demo_data, ann_file=demo_infos["train"])
    sample = dataset[0]
    assert sample.img_shape == (80, 192) and sample.img.shape[2:] == (96, 192, 3)
    assert dataset.augmentation.resize_lim == (0.12, 0.13)


def test_batches_of_two_clips(train: Any) -> None:
    checkpoint = train(F3, {"data.samples_per_gpu": 2})
    assert logged(checkpoint.parent) and len(terms(checkpoint)) > 10
    meta = torch.load(checkpoint, weights_only=True)
    assert meta["resume"]["iters_per_epoch"] == 3  # of six clips


def test_workers_and_learning_rate(train: Any) -> None:
    rate = 3e-4
    checkpoint = train(F1, {"data.workers_per_gpu": 1, "optimizer.lr": rate})
    groups = torch.load(checkpoint, weights_only=True)["optimizer"]["param_groups"]
    warm_up = 1 / 3
    assert sorted(g["lr"] for g in groups) == pytest.approx([rate * 0.1 * warm_up, rate * warm_up])
    for workers in (0, 4):
        tree = release_files.nested(release_files.settings(F1) | {"data.workers_per_gpu": workers})
        assert read_settings(tree).workers_per_gpu == workers


# --- thresholds -----------------------------------------------------------------------------------


def test_thresholds_of_the_tracker(
    train: Any, tmp_path: Path, demo_data: Path, demo_infos: dict[str, Path]
) -> None:
    thresholds = {
        "output_threshold": 0.0,
        "score_threshold": 0.001,
        "record_threshold": 0.002,
        "max_age_since_update": 2,
    }
    checkpoint = train(F3, {f"model.runtime_tracker.{k}": v for k, v in thresholds.items()})
    config = tmp_path / "tracking" / f"{F3}.py"
    options = release_files.small(F3, demo_data, demo_infos)
    runtime = load_tracker(load_config(config, options), None, "cpu").thresholds
    assert {name: getattr(runtime, name) for name in thresholds} == thresholds

    def boxes(*more: str) -> list[dict[str, Any]]:
        where = ["--jsonfile_prefix", tmp_path / "tracks", "--format-only", "--cfg-options"]
        assert release_files.track(config, checkpoint, *where, *options, *more) == 0
        results = json.loads((tmp_path / "tracks" / "results_nusc.json").read_text())["results"]
        return [box for frame in results.values() for box in frame]

    found = boxes()
    assert len(found) > 20
    scores = sorted(box["tracking_score"] for box in found)
    middle = scores[len(scores) // 2]
    coder = boxes(f"model.pts_bbox_head.bbox_coder.score_threshold={middle}")
    assert min(box["tracking_score"] for box in coder) > middle
    assert len(boxes(f"model.runtime_tracker.output_threshold={middle}")) == len(coder)


# --- backbone -------------------------------------------------------------------------------------


def test_another_vovnet_with_frozen_stages(train: Any) -> None:
    checkpoint = train(
        DETR,
        {"model.img_backbone.spec_name": "V-19-slim-dw-eSE", "model.img_backbone.frozen_stages": 4},
    )
    assert "img_backbone.stem.stem_2/dw_conv3x3.weight" in weights(checkpoint)
    groups = torch.load(checkpoint, weights_only=True)["optimizer"]["param_groups"]
    assert len(groups) == 1  # the backbone's, with its lower rate, has nothing left


def test_channels_that_do_not_fit_are_one_line(
    tmp_path: Path,
    demo_data: Path,
    demo_infos: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, wrong, words in (
        (F1, "model.img_neck.in_channels=[768,1024]", "the backbone returns maps of [384, 512]"),
        (
            DETR,
            "model.pts_bbox_head.transformer.decoder.transformerlayers.attn_cfgs.1.num_levels=2",
            "num_levels=2, but the neck returns 4 maps",
        ),
    ):
        config = release_files.write(tmp_path, name)
        options = release_files.small(name, demo_data, demo_infos)
        command = [config, "--work-dir", tmp_path / "run", "--load-from", "none", "--cfg-options"]
        assert release_files.train(*command, *options, wrong) == 2
        assert words in capsys.readouterr().err


def resnet(**settings: Any) -> Changes:
    stated = {
        "type": "ResNet",
        "depth": 18,
        "num_stages": 4,
        "out_indices": [2, 3],
        "frozen_stages": 1,
        "norm_cfg": {"type": "BN2d", "requires_grad": False},
        "norm_eval": True,
        "style": "pytorch",
        "with_cp": True,
        **settings,
    }
    changes: Changes = {f"model.img_backbone.{key}": value for key, value in stated.items()}
    return changes | {"model.img_neck.in_channels": [256, 512]}


def test_the_resnet_of_mmdet(train: Any, tmp_path: Path) -> None:
    """Initialised as mmdet does it: by default, or from a file that ``init_cfg`` names."""
    state = weights(train(F1, resnet(), drop="model.img_backbone."))
    assert state["img_backbone.layer4.1.bn2.weight"].eq(0).all()  # zero_init_residual
    source = {k.removeprefix("img_backbone."): v for k, v in state.items() if "img_backbone" in k}
    source["conv1.weight"] = torch.full_like(source["conv1.weight"], 0.25)
    torch.save({"state_dict": source}, tmp_path / "resnet.pth")
    pretrained = {"type": "Pretrained", "checkpoint": str(tmp_path / "resnet.pth")}
    state = weights(train(F1, resnet(init_cfg=pretrained), drop="model.img_backbone."))
    assert state["img_backbone.conv1.weight"].eq(0.25).all()  # frozen: no step has changed it


# --- where it begins, where it goes ---------------------------------------------------------------


def test_load_from_and_work_dir_in_the_file(
    train: Any,
    tmp_path: Path,
    demo_data: Path,
    demo_infos: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = train(F1, {})
    monkeypatch.chdir(tmp_path)
    options = release_files.small(F3, demo_data, demo_infos)
    changes = {"load_from": str(checkpoint), "work_dir": "results/mine", "resume_from": None}
    config = changed_file(tmp_path / "own", F3, changes)
    capsys.readouterr()
    assert release_files.train(config, "--cfg-options", *options) == 0
    assert f"entries from {checkpoint}" in capsys.readouterr().out
    assert (tmp_path / "results" / "mine" / "iter_2.pth").is_file()

    config = changed_file(tmp_path / "own", F3, changes | {"load_from": "weights/none.pth"})
    assert release_files.train(config, "--cfg-options", *options) == 2
    assert "no checkpoint 'weights/none.pth'" in capsys.readouterr().err
