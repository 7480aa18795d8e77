"""Configurations and their settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from laboratory.battery.cases.maker import MISSING, Main, Maker, command, fields, show
from laboratory.battery.worker import Case


def configurations(make: Maker) -> Iterator[Case]:
    texts = {
        "syntax": "model = dict(",
        "name": "model = dict(a=b)",
        "missing base": "_base_ = ['./none.py']",
        "base of itself": "_base_ = ['./config.py']",
        "no text": "\\xff",
        "division": "x = 1 / 0",
        "empty": "",
        "no optimiser": "model = dict(type='X')",
        "a list": "[1, 2, 3]",
        "exit": "raise SystemExit(0)",
        "model of a text": f"_base_ = ['{make.world.config}']\nmodel = 'tracker'",
        "data of a list": f"_base_ = ['{make.world.config}']\ndata = [1]",
        "unknown head": f"_base_ = ['{make.world.config}']\n"
        "model = dict(pts_bbox_head=dict(type='Nothing'))",
        "unknown data set": f"_base_ = ['{make.world.config}']\n"
        "data = dict(train=dict(type='Nothing'))",
        "wrong plugin": f"_base_ = ['{make.world.config}']\nplugin = True\nplugin_dir = 'x/'",
        "wrong import": f"_base_ = ['{make.world.config}']\n"
        "custom_imports = dict(imports=['nothing_of_that_name'])",
        "imports of a number": f"_base_ = ['{make.world.config}']\ncustom_imports = 7",
    }
    for name, text in texts.items():

        def run(folder: Path, text: str = text) -> tuple[Main, list[str]]:
            (folder / "config.py").write_text(text)
            return command(
                "train", folder / "config.py", "--work-dir", folder / "out" / "run",
                "--device", "cpu", "--dry-run",
            )  # fmt: skip

        yield Case("config", name, run)


def settings(make: Maker) -> Iterator[Case]:
    kinds = {
        "optimizer": "list", "optimizer.lr": "positive", "optimizer.type": "class",
        "optimizer.weight_decay": "rate", "runner.max_epochs": "positive", "lr_config": "list",
        "lr_config.policy": "class", "lr_config.warmup_iters": "count",
        "lr_config.min_lr_ratio": "score", "data.samples_per_gpu": "positive",
        "data.workers_per_gpu": "count", "data": "list", "data.train": "list",
        "data.train.classes": "class", "data.train.ida_aug_conf": "list",
        "data.train.num_frames_per_sample": "positive", "model": "list",
        "model.num_classes": "count", "model.num_query": "positive",
        "model.img_backbone": "list", "model.img_backbone.spec_name": "class",
        "model.img_neck.in_channels": "vec2",
        "model.pts_bbox_head.bbox_coder.max_num": "positive",
        "model.pts_bbox_head.bbox_coder.pc_range": "range",
        "model.pts_bbox_head.bbox_coder.post_center_range": "range",
        "data.train.ida_aug_conf.resize_lim": "limits",
        "data.train.img_norm_cfg.std": "size", "data.train.size_divisor": "positive",
        "model.loss.loss_bbox.loss_weight": "rate", "model.img_backbone.input_ch": "positive",
        "model.pts_bbox_head.transformer.decoder.num_layers": "positive",
        "model.runtime_tracker.max_age_since_update": "count", "model.embed_dims": "positive",
        "log_config.interval": "positive", "log_config.hooks": "dict",
        "evaluation.interval": "count",
        "checkpoint_config.interval": "positive", "seed": "count", "nan_guard.action": "class",
        "precision": "class", "custom_hooks": "dict",
        "data.train.point_cloud_range": "range",
        "model.runtime_tracker.score_threshold": "number",
        "model.runtime_tracker": "text", "model.loss": "text",
    }  # fmt: skip
    for name, value, _at in make.draws(fields(kinds), 200, 110):
        if isinstance(value, str) and value == MISSING:
            continue
        if value is None or value in ("", "1", [], {}):
            continue  # nothing is stated; or a number after all, as overrides are read

        def run(folder: Path, name: str = name, value: Any = value) -> tuple[Main, list[str]]:
            text = value if isinstance(value, str) else repr(value)
            text = text.replace("nan", "'nan'").replace("inf", "'inf'")
            main, arguments = make.dry_run(folder)
            return main, [*arguments, f"{name}={text}"]

        yield Case("settings", f"{name}={show(value)}", run)
