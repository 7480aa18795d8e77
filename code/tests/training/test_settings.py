"""Settings of mm-style configurations: honoured, or named in an error."""

from __future__ import annotations

import math
import re
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass

import pytest
import torch
from training_toy import ToyModel, config

from pftrack.errors import UserError
from pftrack.paths import CODE, REPOSITORY
from pftrack.training import settings
from pftrack.training.mm_config import read_settings, setting_paths
from pftrack.training.optimizer import LossScaler, build_optimizer
from pftrack.training.sampler import ResumableSampler
from pftrack.training.schedule import learning_rate
from pftrack.training.settings import ScheduleSettings

# The training part of a configuration written for the original, with its helper variables.
ORIGINAL = {
    **config(),
    "workflow": [("train", 1)],
    "plugin": True,
    "plugin_dir": "projects/",
    "point_cloud_range": [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0],
    "voxel_size": [0.2, 0.2, 8],
    "class_names": ["car"],
    "total_epochs": 12,
    "model": {"type": "Cam3DTracker"},
    "data": {"samples_per_gpu": 1, "workers_per_gpu": 4, "train": {}, "val": {}, "test": {}},
    "optimizer_config": {
        "type": "Fp16OptimizerHook",
        "loss_scale": 512.0,
        "grad_clip": {"max_norm": 35, "norm_type": 2},
    },
    "evaluation": {"interval": 24, "pipeline": []},
    "find_unused_parameters": False,
    "checkpoint_config": {"interval": 1, "max_keep_ckpts": 3},
    "runner": {"type": "EpochBasedRunner", "max_epochs": 12},
    "load_from": "ckpts/fcos3d_vovnet_imgbackbone-remapped.pth",
    "resume_from": None,
    "custom_hooks": [],
    "dist_params": {"backend": "nccl"},
    "log_level": "INFO",
    "log_config": {
        "interval": 50,
        "hooks": [{"type": "TextLoggerHook"}, {"type": "TensorboardLoggerHook"}],
    },
}


def test_a_configuration_of_the_original_is_read():
    settings = read_settings(ORIGINAL)
    assert settings.max_epochs == 12 and settings.optimizer.lr == 1e-2
    assert settings.optimizer.rules["img_backbone"].lr_mult == 0.1
    assert (settings.precision, settings.loss_scale, settings.grad_clip) == ("fp32", 512.0, 35.0)
    assert settings.states_fp16 and settings.tf32
    assert settings.checkpoint.max_keep_ckpts == 3 and settings.evaluation.interval == 24
    assert settings.log_interval == 50 and settings.tensorboard
    assert settings.samples_per_gpu == 1 and settings.workers_per_gpu == 4
    evaluation, helpers = settings.notes
    assert "evaluation.pipeline (evaluation is streaming tracking" in evaluation
    assert "nothing reads: point_cloud_range, voxel_size (helper variables" in helpers


def test_every_setting_is_read():
    """A field that no module of the package asks for would be a setting without effect."""
    sources = (p for p in (CODE / "pftrack").rglob("*.py") if p.name != "settings.py")
    read = set(re.findall(r"\.(\w+)\b", "\n".join(path.read_text() for path in sources)))
    schema = [c for c in vars(settings).values() if isinstance(c, type) and is_dataclass(c)]
    fields = {
        f.name for c in schema if c.__module__ == settings.__name__ for f in dataclass_fields(c)
    }
    assert "log_interval" in fields and not fields - read


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"optimiser": {}}, "'optimiser'.*did you mean 'optimizer'"),
        ({"lr_confg": {}}, "'lr_confg'.*did you mean 'lr_config'"),
        (
            {"lr_config": {"policy": "CosineAnnealing", "warmup_iter": 5}},
            r"lr_config\.warmup_iter'",
        ),
        ({"lr_config": {"policy": "poly"}}, "'poly' is not supported"),
        ({"optimizer": {"type": "AdamW", "lr": 1, "weight_decy": 0}}, r"optimizer\.weight_decy'"),
        ({"optimizer": {"type": "LAMB", "lr": 1}}, "torch.optim has no 'LAMB'"),
        ({"optimizer": {"type": "AdamW"}}, r"'optimizer\.lr' is missing"),
        (
            {
                "optimizer": {
                    "type": "AdamW",
                    "lr": 1,
                    "paramwise_cfg": {"custom_keys": {"a": {"x": 1}}},
                }
            },
            r"custom_keys\.a\.x'",
        ),
        ({"optimizer_config": {"grad_clp": {}}}, r"optimizer_config\.grad_clp'"),
        ({"optimizer_config": {"type": "ApexHook"}}, "'ApexHook' is not supported"),
        ({"checkpoint_config": {"intervall": 1}}, r"checkpoint_config\.intervall'"),
        ({"runner": {"type": "IterBasedRunner", "max_iters": 5}}, "'IterBasedRunner'"),
        ({"runner": {}, "total_epochs": None}, "neither 'runner.max_epochs' nor 'total_epochs'"),
        ({"workflow": [("train", 1), ("val", 1)]}, "'workflow'"),
        ({"custom_hooks": [{"type": "EMAHook"}]}, "'EMAHook' is not supported"),
        ({"log_config": {"hooks": [{"type": "WandbLoggerHook"}]}}, "'WandbLoggerHook'"),
        ({"data": {"sample_per_gpu": 1}}, r"data\.sample_per_gpu'.*did you mean 'samples_per_gpu'"),
        ({"evaluation": {"every": 1}}, r"evaluation\.every'"),
        ({"nan_guard": {"action": "ignore"}}, r"nan_guard\.action'"),
        ({"precision": "int8"}, "'int8' is not one of fp32, fp16, bf16"),
        ({"fp16": {"loss_scale": "big"}}, "'big' is neither a positive number nor 'dynamic'"),
        ({"fp16": {"loss_scale": True}}, "'True' is neither a positive number"),
        ({"fp16": {"loss_scale": {"a": 1}}}, "'loss_scale' in the config: .*argument 'a'"),
        ({"fp16": {"loss_scale": {"growth_factor": 0.5}}}, "growth factor must be > 1"),
        ({"optimizer": "abc"}, "setting 'optimizer' in the config: expected a dict, got 'abc'"),
        ({"optimizer": {"type": "SGD", "paramwise_cfg": "abc"}}, "'optimizer.paramwise_cfg' in"),
        ({"optimizer": None}, "no 'optimizer'"),
        ({"optimizer": {"type": "AdamW", "lr": -1e-4}}, r"optimizer\.lr'.*expected > 0"),
        ({"optimizer": {"type": "AdamW", "lr": float("nan")}}, r"optimizer\.lr'.*got nan"),
        ({"optimizer": {"type": "AdamW", "lr": 10**400}}, r"optimizer\.lr'.*too large"),
        ({"optimizer": {"type": "AdamW", "lr": "fast"}}, r"optimizer\.lr'.*expected float"),
        (
            {"optimizer": {"type": "AdamW", "lr": 1e-4, "weight_decay": -1}},
            r"weight_decay'.*expected >= 0",
        ),
        (
            {"optimizer": {"type": "AdamW", "lr": 1e-4, "betas": (2, 3)}},
            r"'optimizer' in the config: Invalid beta",
        ),
        ({"runner": {"max_epochs": -1}}, r"runner\.max_epochs'.*expected >= 1, got -1"),
        ({"runner": {"max_epochs": 2, "max_iters": 0}}, r"runner\.max_iters'.*expected >= 1"),
        ({"data": {"workers_per_gpu": 100_000}}, r"data\.workers_per_gpu'.*expected <= 256"),
        ({"data": {"samples_per_gpu": 0}}, r"data\.samples_per_gpu'.*expected >= 1"),
        ({"lr_config": {"policy": "fixed", "warmup_ratio": 3.0}}, r"warmup_ratio'.*expected <= 1"),
        ({"optimizer_config": {"grad_clip": {"max_norm": -1}}}, r"max_norm'.*expected > 0"),
        ({"seed": -1}, r"'seed'.*expected >= 0"),
    ],
)
def test_an_unknown_setting_is_named(change, named):
    with pytest.raises(UserError, match=named):
        read_settings({**ORIGINAL, **change})


def test_fp16_spellings():
    for change in (
        {"fp16": {"loss_scale": "dynamic"}, "optimizer_config": {"grad_clip": None}},
        {"optimizer_config": {"type": "Fp16OptimizerHook", "loss_scale": "dynamic"}},
    ):
        settings = read_settings({**ORIGINAL, **change, "precision": "fp16"})
        assert (settings.precision, settings.loss_scale) == ("fp16", "dynamic")
        assert settings.grad_clip is None
        # Under mm's hook the release's network computes in fp32: half is asked for by name.
        settings = read_settings({**ORIGINAL, **change})
        assert (settings.precision, settings.states_fp16) == ("fp32", True)
    assert read_settings({**ORIGINAL, "precision": "bf16"}).precision == "bf16"
    assert not read_settings(config()).states_fp16


def test_published_schedule_by_hand():
    """Cosine by epochs of 100 iterations, peak 2e-4, linear warm-up over 500 from a third."""
    schedule = ScheduleSettings(
        policy="CosineAnnealing",
        warmup="linear",
        warmup_iters=500,
        warmup_ratio=1 / 3,
        min_lr_ratio=1e-3,
    )

    def rate(iteration: int) -> float:
        return learning_rate(schedule, 2e-4, iteration, 100, 12)

    assert rate(0) == pytest.approx(2e-4 / 3)
    # Iteration 250 lies in epoch 2 (of 12): half of the warm-up is over, factor 2/3.
    cosine = 2e-7 + 0.5 * (2e-4 - 2e-7) * (1 + math.cos(math.pi * 2 / 12))
    assert rate(250) == pytest.approx(cosine * 2 / 3)
    assert rate(600) == rate(699) == pytest.approx(2e-7 + 0.5 * (2e-4 - 2e-7))
    assert rate(1199) == pytest.approx(
        2e-7 + 0.5 * (2e-4 - 2e-7) * (1 + math.cos(math.pi * 11 / 12))
    )


def test_schedule_by_iteration_and_steps():
    cosine = ScheduleSettings(policy="CosineAnnealing", by_epoch=False, min_lr=1e-5)
    assert learning_rate(cosine, 1e-3, 300, 100, 6) == pytest.approx(1e-5 + 0.5 * (1e-3 - 1e-5))
    steps = ScheduleSettings(policy="step", step=(2, 4), gamma=0.1)
    assert [learning_rate(steps, 1.0, i * 10, 10, 6) for i in range(6)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    every = ScheduleSettings(policy="step", step=(2,), gamma=0.5, min_lr=0.2)
    assert learning_rate(every, 1.0, 50, 10, 6) == pytest.approx(0.25)
    assert learning_rate(every, 1.0, 60, 10, 9) == pytest.approx(0.2)
    constant = ScheduleSettings(warmup="constant", warmup_iters=2, warmup_ratio=0.5)
    assert [learning_rate(constant, 1.0, i, 10, 1) for i in range(3)] == [0.5, 0.5, 1.0]
    exp = ScheduleSettings(warmup="exp", warmup_iters=2, warmup_ratio=0.25)
    assert [learning_rate(exp, 1.0, i, 10, 1) for i in range(3)] == [0.25, 0.5, 1.0]


def test_optimizer_groups_follow_the_rules():
    model = ToyModel()
    model.head[1].bias.requires_grad_(False)
    optimizer = build_optimizer(model, read_settings(config()).optimizer)
    assert isinstance(optimizer, torch.optim.AdamW) and optimizer.defaults["fused"]
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(model.img_backbone[0].weight)] == pytest.approx(1e-3)
    assert rates[id(model.head[1].weight)] == pytest.approx(1e-2)
    assert id(model.head[1].bias) not in rates
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.01}
    rules = {"paramwise_cfg": {"custom_keys": {"img_bakcbone": {"lr_mult": 0.1}}}}
    with pytest.raises(UserError, match=r"custom_keys\.img_bakcbone' .*matches no parameter"):
        changed = {"type": "AdamW", "lr": 1.0, **rules}
        build_optimizer(model, read_settings(config(optimizer=changed)).optimizer)


@pytest.mark.parametrize(
    ("scale", "after"), [(512.0, 256.0), ("dynamic", 32768.0), ({"init_scale": 64.0}, 32.0)]
)
def test_loss_scaler_leaves_an_overflowing_step_out(scale, after):
    settings = read_settings(config(fp16={"loss_scale": scale}, precision="fp16"))
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = LossScaler(settings, torch.device("cpu"))
    scaler.scaler.scale((weight * float("inf")).sum()).backward()
    scaler.scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert weight.item() == 1.0 and scaler.scaler.get_scale() == after
    for _ in range(2):  # a step left out for another reason leaves the scaler ready for the next
        optimizer.zero_grad()
        scaler.scaler.scale(weight.sum()).backward()
        scaler.scaler.unscale_(optimizer)
        scaler.skip()
    scaler.scaler.unscale_(optimizer)


def test_sampler_shards_one_order_and_resumes():
    def order(world: int, batch: int, epoch: int = 0, start: int = 0) -> list[list[int]]:
        ranks = []
        for rank in range(world):
            sampler = ResumableSampler(10, batch, seed=3, rank=rank, world_size=world)
            sampler.set_position(epoch, start)
            ranks.append(list(sampler))
            assert len(ranks[-1]) == len(sampler)
        return ranks

    (alone,) = order(1, 4)
    assert set(alone) == set(range(10)) and len(alone) == 12 and alone[10:] == alone[:2]
    first, second = order(2, 2)
    together = [i for b in range(3) for rank in (first, second) for i in rank[2 * b : 2 * b + 2]]
    assert together == alone
    assert order(1, 4, start=2) == [alone[8:]]
    assert order(1, 4, epoch=1) != [alone]
    assert len(order(4, 8)[3]) == 8  # fewer samples than places: repeated


def test_every_setting_is_documented():
    """A field of the schema has its name, or the end of its path, in docs/training.md."""
    text = (REPOSITORY / "docs" / "training.md").read_text()
    text = text[text.index("## Settings") : text.index("## Precision")]
    words = set(re.findall(r"`\.?([\w.]+)`", text))
    roots, ends = ({word.split(".")[i] for word in words} for i in (0, -1))
    inside = ("kwargs", "rules", "type", "lr", "weight_decay")  # torch.optim's
    missing = {
        path
        for path in setting_paths()
        if path.split(".")[0] not in roots or path.split(".")[-1] not in roots | ends
    } - {f"optimizer.{name}" for name in inside}
    assert missing == {"states_fp16", "tensorboard", "notes"}  # made from others; for the log


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": "zero"}, "'seed' in the config: expected int, got 'zero'"),
        ({"tf32": "no"}, "'tf32' in the config: expected bool, got 'no'"),
        (
            {"checkpoint_config": {"interval": 1.5}},
            r"'checkpoint_config\.interval' in the config: expected int, got 1\.5",
        ),
        (
            {"optimizer_config": {"grad_clip": {"max_norm": "big"}}},
            r"'optimizer_config\.grad_clip\.max_norm' in the config: expected float, got 'big'",
        ),
        ({"evaluation": []}, None),
        ({"evaluation": [1]}, r"'evaluation' in the config: expected a dict, got \[1\]"),
        ({"optimizer_config": {"grad_clip": {"max": 1}}}, r"optimizer_config\.grad_clip\.max'"),
    ],
)
def test_a_value_of_another_type_is_named(change, named):
    if named is None:
        read_settings({**ORIGINAL, **change})
        return
    with pytest.raises(UserError, match=named):
        read_settings({**ORIGINAL, **change})


def test_values_become_the_fields_types():
    settings = read_settings(
        {
            **ORIGINAL,
            "lr_config": {"policy": "step", "step": 3, "gamma": 1, "warmup": None},
            "evaluation": {"save_best": None, "interval": None},
            "data": {"samples_per_gpu": None},
        }
    )
    assert settings.schedule.step == (3,) and isinstance(settings.schedule.gamma, float)
    assert settings.schedule.warmup is None
    assert settings.evaluation.save_best is None  # said so, not the default
    assert settings.evaluation.interval == 0 and settings.samples_per_gpu == 1
    assert isinstance(settings.grad_clip, float)
