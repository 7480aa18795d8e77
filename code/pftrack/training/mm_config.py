"""Reads mm-style configuration sections into checked, typed settings (settings.py).

Every key of a section is either read here, listed as one without effect (stated.py), or named in an
error. Top-level names that nobody knows are helper variables of the config file (mm files are full
of them): those that look like a misspelled setting are errors; those from which no setting was made
are named in the log (:attr:`TrainSettings.notes`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pftrack import stated
from pftrack.errors import UserError
from pftrack.models.acceleration import PRECISIONS
from pftrack.stated import accept, same, unknown_setting
from pftrack.training.settings import (
    CheckpointSettings,
    EvaluationSettings,
    NanGuardSettings,
    OptimizerSettings,
    ParamRule,
    ScheduleSettings,
    TrainSettings,
)

# Read by others, so that a misspelling of them is noticed too.
_READ_ELSEWHERE = {"model", "data", "class_names", "custom_imports", "plugin", "plugin_dir"}
_SPLITS = ("train", "val", "test", "test_tracking")
_TOP_LEVEL = {
    "optimizer", "optimizer_config", "lr_config", "runner", "total_epochs", "checkpoint_config",
    "evaluation", "log_config", "workflow", "custom_hooks", "fp16", "precision", "tf32",
    "nan_guard", "seed", "deterministic", "cudnn_benchmark", "load_from", "resume_from",
    "find_unused_parameters",
    "static_graph", "channels_last", "compile", "work_dir",
}  # fmt: skip


def read_settings(cfg: Mapping[str, Any]) -> TrainSettings:
    """Read the training settings of an (expanded) mm-style configuration.

    Raises:
        UserError: an unknown setting, by name, or a value that cannot be honoured.
    """
    known = _TOP_LEVEL | set(stated.STATED[""]) | _READ_ELSEWHERE
    helpers = []
    for name in cfg:
        if name in known or name.startswith("_"):
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.86)
        if close:
            raise UserError(f"unknown setting '{name}' in the config: did you mean '{close[0]}'?")
        helpers.append(name)
    if not cfg.get("optimizer"):
        raise UserError("the config has no 'optimizer': it is not a training configuration")
    data = _section(cfg, "data", {"samples_per_gpu", "workers_per_gpu", *_SPLITS})
    _check_workflow(cfg.get("workflow"))
    _check_hooks(cfg.get("custom_hooks"))
    return TrainSettings(
        optimizer=_optimizer(cfg["optimizer"]),
        **_runner(cfg),
        schedule=_schedule(cfg.get("lr_config")),
        **_optimizer_config(cfg),
        checkpoint=_dataclass_section(cfg, "checkpoint_config", CheckpointSettings),
        evaluation=_dataclass_section(cfg, "evaluation", EvaluationSettings),
        nan_guard=_nan_guard(cfg),
        **_log_config(cfg),
        **_plain(
            cfg,
            "seed", "deterministic", "cudnn_benchmark", "load_from", "resume_from", "tf32",
            "find_unused_parameters", "static_graph", "channels_last",
        ),
        compile=_names(cfg.get("compile")),
        samples_per_gpu=int(data.get("samples_per_gpu", 1)),
        workers_per_gpu=int(data.get("workers_per_gpu", 2)),
        notes=tuple(_notes(cfg, helpers)),
    )  # fmt: skip


def _notes(cfg: Mapping[str, Any], helpers: Sequence[str]) -> list[str]:
    """Lines that name what the configuration states without effect."""
    notes = stated.notes(cfg)
    epochs = (cfg.get("runner") or {}).get("max_epochs")
    if epochs is not None and cfg.get("total_epochs") not in (None, epochs):
        notes.append(f"total_epochs={cfg['total_epochs']} in the config: runner.max_epochs counts")
    splits = [(cfg.get("data") or {}).get(split) or {} for split in _SPLITS]
    if any(split.get("classes") for split in splits):
        helpers = [*helpers, "class_names"]
    sections = [*(cfg.get(name) for name in (*_TOP_LEVEL, "model")), splits]
    values = [value for section in sections for value in _nested(section)]
    unread = [n for n in helpers if n in cfg and not any(_made_from(cfg[n], v) for v in values)]
    if unread:
        notes.append(
            f"names in the config that nothing reads: {', '.join(unread)} (helper variables: the "
            "settings made from them count)"
        )
    return notes


def _nested(value: Any) -> Iterator[Any]:
    """A value and everything inside it."""
    yield value
    if isinstance(value, (Mapping, list, tuple)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _nested(inner)


def _made_from(helper: Any, value: Any) -> bool:
    """Whether ``value`` may come from a helper variable: equal to it, or extended."""
    if isinstance(helper, str) and isinstance(value, str):
        return helper in value
    if isinstance(helper, Mapping) and isinstance(value, Mapping):
        return helper.items() <= value.items()
    return same(helper, value)


def _section(cfg: Mapping[str, Any], name: str, read: set[str]) -> dict[str, Any]:
    """The keys of section ``name`` that are read; any other must be listed as without effect."""
    section = cfg.get(name) or {}
    if not isinstance(section, Mapping):
        raise UserError(f"setting '{name}' in the config: expected a dict, got {section!r}")
    accept(section, name, read=read)
    return {key: value for key, value in section.items() if key in read}


def _dataclass_section(cfg: Mapping[str, Any], name: str, kind: Any) -> Any:
    return kind(**_section(cfg, name, set(kind.__dataclass_fields__)))


def _plain(cfg: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: cfg[name] for name in names if cfg.get(name) is not None}


def _names(value: Any) -> tuple[str, ...]:
    if not value:
        return ()
    if value is True:
        return ("img_backbone", "pts_bbox_head")
    return (value,) if isinstance(value, str) else tuple(value)


def _optimizer(section: Mapping[str, Any]) -> OptimizerSettings:
    import inspect

    import torch

    section = dict(section)
    kind = section.pop("type", None)
    torch_class = getattr(torch.optim, str(kind), None)
    if not inspect.isclass(torch_class):
        raise UserError(f"setting 'optimizer.type' in the config: torch.optim has no '{kind}'")
    rules = _paramwise(section.pop("paramwise_cfg", None) or {})
    known = [name for name in inspect.signature(torch_class).parameters if name != "params"]
    for key in section:
        if key not in known:
            raise unknown_setting("optimizer", key, [*known, "paramwise_cfg"])
    if "lr" not in section:
        raise UserError("setting 'optimizer.lr' is missing in the config")
    lr, decay = float(section.pop("lr")), float(section.pop("weight_decay", 0.0))
    return OptimizerSettings(str(kind), lr, decay, section, rules)


def _paramwise(section: Mapping[str, Any]) -> dict[str, ParamRule]:
    for key in section:
        if key != "custom_keys":
            raise unknown_setting("optimizer.paramwise_cfg", key, ["custom_keys"])
    rules = {}
    for name, rule in (section.get("custom_keys") or {}).items():
        for key in rule:
            if key not in ParamRule.__dataclass_fields__:
                where = f"optimizer.paramwise_cfg.custom_keys.{name}"
                raise unknown_setting(where, key, list(ParamRule.__dataclass_fields__))
        rules[name] = ParamRule(**rule)
    return rules


def _schedule(section: Mapping[str, Any] | None) -> ScheduleSettings:
    values = _section(
        {"lr_config": section}, "lr_config", set(ScheduleSettings.__dataclass_fields__)
    )
    if not values:
        return ScheduleSettings()
    step = values.pop("step", ())
    values["policy"] = {"cosineannealing": "CosineAnnealing"}.get(
        str(values.get("policy")).lower(), str(values.get("policy")).lower()
    )
    if values["policy"] not in ("fixed", "step", "CosineAnnealing"):
        raise UserError(
            f"setting 'lr_config.policy' in the config: '{values['policy']}' is not supported, use "
            "fixed, step or CosineAnnealing"
        )
    if values.get("warmup") not in (None, "linear", "constant", "exp"):
        raise UserError(
            f"setting 'lr_config.warmup' in the config: '{values['warmup']}' is not supported, "
            "use linear, constant or exp"
        )
    return ScheduleSettings(**values, step=(step,) if isinstance(step, int) else tuple(step))


def _runner(cfg: Mapping[str, Any]) -> dict[str, Any]:
    values = _section(cfg, "runner", {"type", "max_epochs", "max_iters"})
    if values.get("type", "EpochBasedRunner") != "EpochBasedRunner":
        raise UserError(
            f"setting 'runner.type' in the config: '{values['type']}' is not supported, use "
            "EpochBasedRunner (max_iters ends it early)"
        )
    epochs = values.get("max_epochs", cfg.get("total_epochs"))
    if epochs is None:
        raise UserError("the config sets neither 'runner.max_epochs' nor 'total_epochs'")
    iters = values.get("max_iters")
    return {"max_epochs": int(epochs), "max_iters": None if iters is None else int(iters)}


def _optimizer_config(cfg: Mapping[str, Any]) -> dict[str, Any]:
    values = _section(cfg, "optimizer_config", {"type", "grad_clip", "loss_scale"})
    kind = values.get("type", "OptimizerHook")
    if kind not in ("OptimizerHook", "Fp16OptimizerHook"):
        raise UserError(
            f"setting 'optimizer_config.type' in the config: '{kind}' is not supported, use "
            "OptimizerHook or Fp16OptimizerHook"
        )
    clip = values.get("grad_clip") or {}
    for key in clip:
        if key not in ("max_norm", "norm_type"):
            raise unknown_setting("optimizer_config.grad_clip", key, ["max_norm", "norm_type"])
    fp16 = cfg.get("fp16") or {}
    for key in fp16:
        if key != "loss_scale":
            raise unknown_setting("fp16", key, ["loss_scale"])
    # mm's fp16 concerns modules that ask for it, and of the release's none does (docs/training.md).
    precision = cfg.get("precision") or "fp32"
    if precision not in PRECISIONS:
        raise UserError(
            f"setting 'precision' in the config: '{precision}' is not one of "
            + ", ".join(PRECISIONS)
        )
    scale = fp16.get("loss_scale", values.get("loss_scale", 512.0))
    if not isinstance(scale, (int, float, Mapping)) and scale != "dynamic":
        raise UserError(
            f"setting 'loss_scale' in the config: '{scale}' is neither a number nor 'dynamic'"
        )
    return {
        "grad_clip": float(clip["max_norm"]) if clip else None,
        "grad_norm_type": float(clip.get("norm_type", 2.0)),
        "precision": precision,
        "states_fp16": bool(fp16) or kind == "Fp16OptimizerHook",
        "loss_scale": scale,
    }


def _nan_guard(cfg: Mapping[str, Any]) -> NanGuardSettings:
    settings = _dataclass_section(cfg, "nan_guard", NanGuardSettings)
    if settings.action not in ("stop", "skip"):
        raise UserError(
            f"setting 'nan_guard.action' in the config: '{settings.action}' is neither stop "
            "nor skip"
        )
    return settings


def _log_config(cfg: Mapping[str, Any]) -> dict[str, Any]:
    values = _section(cfg, "log_config", {"interval", "hooks"})
    hooks = values.get("hooks")
    if hooks is None:
        hooks = [{"type": "TextLoggerHook"}, {"type": "TensorboardLoggerHook"}]
    for hook in hooks:
        if hook.get("type") not in ("TextLoggerHook", "TensorboardLoggerHook"):
            raise UserError(
                f"setting 'log_config.hooks' in the config: '{hook.get('type')}' is not supported, "
                "use TextLoggerHook or TensorboardLoggerHook"
            )
        for key in hook:
            if key not in ("type", "by_epoch"):
                raise unknown_setting(f"log_config.hooks.{hook['type']}", key, ["type", "by_epoch"])
    return {
        "log_interval": int(values.get("interval", 50)),
        "tensorboard": any(hook["type"] == "TensorboardLoggerHook" for hook in hooks),
    }


def _check_workflow(workflow: Any) -> None:
    if workflow and [tuple(phase) for phase in workflow] != [("train", 1)]:
        raise UserError(
            f"setting 'workflow' in the config: {workflow} is not supported, use [('train', 1)] "
            "and 'evaluation' for validation"
        )


def _check_hooks(hooks: Any) -> None:
    for hook in hooks or []:
        kind = str(hook.get("type"))
        if not kind.endswith("Hook") or kind not in stated.STATED:
            raise UserError(
                f"setting 'custom_hooks' in the config: '{kind}' is not supported; "
                "remove it or add its work to pftrack/training/loop.py"
            )
