"""Reads mm-style configuration sections into checked, typed settings (settings.py).

The fields of settings.py are the schema: names, types and defaults; a few settings need more than
that and have functions of their own. Every key of a section is either read, listed as one without
effect (stated.py), or named in an error. Top-level names that nobody knows are helper variables of
the config file (mm files are full of them): those that look like a misspelled setting are errors;
those from which no setting was made are named in the log (:attr:`TrainSettings.notes`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from msgspec import Meta

from pftrack import stated
from pftrack.errors import UserError
from pftrack.models.acceleration import PRECISIONS
from pftrack.stated import accept, same, unknown_setting
from pftrack.training.settings import (
    OptimizerSettings,
    ParamRule,
    ScheduleSettings,
    TrainSettings,
)

# Read by others, so that a misspelling of them is noticed too.
_READ_ELSEWHERE = {"model", "data", "class_names", "custom_imports", "plugin", "plugin_dir"}
_SPLITS = ("train", "val", "test", "test_tracking")
# What is read here without a field of its own: keys beside the fields', by section ("": top level).
_BESIDE: dict[str, set[str]] = {
    "": {"total_epochs", "fp16", "workflow", "custom_hooks", "work_dir"},
    "data": {*_SPLITS},
    "runner": {"type", "max_epochs"},
    "optimizer_config": {"type", "loss_scale"},
    "log_config": {"hooks"},
}
_TYPES = get_type_hints(TrainSettings, include_extras=True)


def setting_paths(kind: type = TrainSettings, prefix: str = "") -> dict[str, Any]:
    """Every setting that a field of the schema reads: its dotted path in the file -> its type.

    A field that is itself a dataclass is a section: its fields are settings below its path.
    """
    paths: dict[str, Any] = {}
    types = get_type_hints(kind, include_extras=True)
    for item in fields(kind):
        path = prefix + item.metadata.get("at", item.name)
        paths[path] = types[item.name]
        if is_dataclass(types[item.name]):
            paths |= setting_paths(types[item.name], f"{path}.")
    return paths


def _keys(section: str) -> set[str]:
    """The names that are read in a section; "": at the top level."""
    start = f"{section}." if section else ""
    below = {path[len(start) :].split(".")[0] for path in setting_paths() if path.startswith(start)}
    return below | _BESIDE.get(section, set())


def read_settings(cfg: Mapping[str, Any]) -> TrainSettings:
    """Read the training settings of an (expanded) mm-style configuration.

    Raises:
        UserError: an unknown setting, by name, or a value that cannot be honoured.
    """
    known = _keys("") | set(stated.STATED[""]) | _READ_ELSEWHERE
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
    _check_workflow(cfg.get("workflow"))
    _check_hooks(cfg.get("custom_hooks"))
    # What a field alone cannot say.
    special = {
        "optimizer": _optimizer(cfg["optimizer"]),
        "max_epochs": _max_epochs(cfg),
        "schedule": _schedule(cfg),
        **_half_precision(cfg),
        "tensorboard": _tensorboard(cfg),
        "compile": _names(cfg.get("compile")),
        "notes": tuple(_notes(cfg, helpers)),
    }
    plain = {
        item.name: _read(cfg, item.metadata.get("at", item.name), _TYPES[item.name], item.default)
        for item in fields(TrainSettings)
        if item.name not in special
    }
    settings = TrainSettings(**plain, **special)
    if settings.precision not in PRECISIONS:
        raise UserError(
            f"setting 'precision' in the config: '{settings.precision}' is not one of "
            + ", ".join(PRECISIONS)
        )
    if settings.nan_guard.action not in ("stop", "skip"):
        raise UserError(
            f"setting 'nan_guard.action' in the config: '{settings.nan_guard.action}' is neither "
            "stop nor skip"
        )
    return settings


def _read(cfg: Mapping[str, Any], path: str, kind: Any, default: Any) -> Any:
    """The value at a dotted path as the type ``kind``; a dataclass is read field by field."""
    *sections, name = path.split(".")
    values = cfg
    for depth in range(len(sections)):
        values = _section(values, ".".join(sections[: depth + 1]))
    if not is_dataclass(kind):
        return _typed(path, values[name], kind, default) if name in values else default
    build: Any = kind
    types = get_type_hints(kind, include_extras=True)
    inner = _section(values, path)
    read = {
        item.name: _typed(f"{path}.{item.name}", inner[item.name], types[item.name], item.default)
        for item in fields(kind)
        if item.name in inner
    }
    return build(**read)


def _typed(path: str, value: Any, kind: Any, default: Any) -> Any:
    """``value`` as a field's type: int, float, bool, str, ``X | None`` or ``tuple[X, ...]``; a
    number within the limits of an ``Annotated``."""
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    limits = [c.__metadata__[0] for c in choices if get_origin(c) is Annotated]
    choices = tuple(get_args(c)[0] if get_origin(c) is Annotated else c for c in choices)
    if value is None:
        return None if type(None) in choices else default
    for choice in choices:
        if get_origin(choice) is tuple:
            items = value if isinstance(value, (list, tuple)) else (value,)
            return tuple(_typed(path, item, get_args(choice)[0], None) for item in items)
        if choice is bool and value in (0, 1):
            return bool(value)
        if choice is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                return _within(path, float(value), limits)
            except OverflowError:
                raise UserError(
                    f"setting '{path}' in the config: the number is too large"
                ) from None
        if choice in (int, str) and isinstance(value, choice) and not isinstance(value, bool):
            return _within(path, value, limits) if choice is int else value
    wanted = " or ".join(c.__name__ for c in choices if c is not type(None))
    raise UserError(f"setting '{path}' in the config: expected {wanted}, got {value!r}")


def _within(path: str, value: Any, limits: Sequence[Meta]) -> Any:
    """The number itself.

    Raises:
        UserError: it is outside of its field's limits, or NaN.
    """
    for limit in limits or (Meta(),):
        wanted = [
            f"{sign} {bound:g}"
            for sign, bound, kept in (
                (">=", limit.ge, limit.ge is None or value >= limit.ge),
                (">", limit.gt, limit.gt is None or value > limit.gt),
                ("<=", limit.le, limit.le is None or value <= limit.le),
                ("<", limit.lt, limit.lt is None or value < limit.lt),
            )
            if not kept and bound is not None
        ]
        if wanted or value != value:
            detail = " and ".join(wanted) if value == value else "a number"
            raise UserError(f"setting '{path}' in the config: expected {detail}, got {value!r}")
    return value


def _notes(cfg: Mapping[str, Any], helpers: Sequence[str]) -> list[str]:
    """Lines that name what the configuration states without effect."""
    notes = stated.notes(cfg)
    epochs = (cfg.get("runner") or {}).get("max_epochs")
    if epochs is not None and cfg.get("total_epochs") not in (None, epochs):
        notes.append(f"total_epochs={cfg['total_epochs']} in the config: runner.max_epochs counts")
    splits = [(cfg.get("data") or {}).get(split) or {} for split in _SPLITS]
    if any(split.get("classes") for split in splits):
        helpers = [*helpers, "class_names"]
    sections = [*(cfg.get(name) for name in (*(_keys("") - {"data"}), "model")), splits]
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


def _section(above: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The keys of the section at ``path`` that are read; any other must be known to do nothing.

    Args:
        above: what the section is a part of.
    """
    section = above.get(path.rpartition(".")[2]) or {}
    if not isinstance(section, Mapping):
        raise UserError(f"setting '{path}' in the config: expected a dict, got {section!r}")
    keys = _keys(path)
    accept(section, path, read=keys)
    return {key: value for key, value in section.items() if key in keys}


def _names(value: Any) -> tuple[str, ...]:
    if not value:
        return ()
    if value is True:
        return ("img_backbone", "pts_bbox_head")
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise UserError(f"setting 'compile' in the config: expected names, got {value!r}")
    return tuple(names)


def _optimizer(section: Any) -> OptimizerSettings:
    import inspect

    import torch

    section = dict(_dict("optimizer", section))
    kind = section.pop("type", None)
    torch_class = getattr(torch.optim, str(kind), None)
    if not (inspect.isclass(torch_class) and kind != "Optimizer"):
        raise UserError(f"setting 'optimizer.type' in the config: torch.optim has no '{kind}'")
    rules = _paramwise(section.pop("paramwise_cfg", None))
    known = [name for name in inspect.signature(torch_class).parameters if name != "params"]
    for key in section:
        if key not in known:
            raise unknown_setting("optimizer", key, [*known, "paramwise_cfg"])
    if section.get("lr") is None:
        raise UserError("setting 'optimizer.lr' is missing in the config")
    types = get_type_hints(OptimizerSettings, include_extras=True)
    numbers = {
        name: _typed(f"optimizer.{name}", section.pop(name), types[name], None)
        for name in ("lr", "weight_decay")
        if section.get(name) is not None
    }
    section.pop("weight_decay", None)
    build: Any = torch_class
    settings = OptimizerSettings(str(kind), **numbers, kwargs=section, rules=rules)
    try:  # its own arguments are the class's to judge
        build([torch.nn.Parameter(torch.zeros(1))], lr=settings.lr, **section)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"'optimizer' in the config: {' '.join(str(error).split())}") from None
    return settings


def _paramwise(section: Any) -> dict[str, ParamRule]:
    section = dict(_dict("optimizer.paramwise_cfg", section))
    for key in section:
        if key != "custom_keys":
            raise unknown_setting("optimizer.paramwise_cfg", key, ["custom_keys"])
    rules = {}
    types = get_type_hints(ParamRule, include_extras=True)
    for name, rule in _dict("optimizer.paramwise_cfg.custom_keys", section.get("custom_keys")):
        where = f"optimizer.paramwise_cfg.custom_keys.{name}"
        for key, _value in _dict(where, rule):
            if key not in ParamRule.__dataclass_fields__:
                raise unknown_setting(where, key, list(ParamRule.__dataclass_fields__))
        rules[name] = ParamRule(
            **{k: _typed(f"{where}.{k}", value, types[k], 1.0) for k, value in rule.items()}
        )
    return rules


def _dict(path: str, value: Any) -> list[tuple[str, Any]]:
    """The entries of a section that may be left out."""
    if value is not None and not isinstance(value, Mapping):
        raise UserError(f"setting '{path}' in the config: expected a dict, got {value!r}")
    return list((value or {}).items())


def _schedule(cfg: Mapping[str, Any]) -> ScheduleSettings:
    section = _section(cfg, "lr_config")
    if not section:
        return ScheduleSettings()
    policy = str(section.get("policy")).lower()
    if policy == "cosineannealing":
        policy = "CosineAnnealing"
    if policy not in ("fixed", "step", "CosineAnnealing"):
        raise UserError(
            f"setting 'lr_config.policy' in the config: '{policy}' is not supported, use "
            "fixed, step or CosineAnnealing"
        )
    if section.get("warmup") not in (None, "linear", "constant", "exp"):
        raise UserError(
            f"setting 'lr_config.warmup' in the config: '{section['warmup']}' is not supported, "
            "use linear, constant or exp"
        )
    section = {"lr_config": {**section, "policy": policy}}
    return _read(section, "lr_config", ScheduleSettings, ScheduleSettings())


def _max_epochs(cfg: Mapping[str, Any]) -> int:
    values = _section(cfg, "runner")
    if values.get("type", "EpochBasedRunner") != "EpochBasedRunner":
        raise UserError(
            f"setting 'runner.type' in the config: '{values['type']}' is not supported, use "
            "EpochBasedRunner (max_iters ends it early)"
        )
    epochs = values.get("max_epochs", cfg.get("total_epochs"))
    if epochs is None:
        raise UserError("the config sets neither 'runner.max_epochs' nor 'total_epochs'")
    return int(_typed("runner.max_epochs", epochs, _TYPES["max_epochs"], None))


def _half_precision(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """``states_fp16`` and ``loss_scale``, for which mm has two places."""
    values = _section(cfg, "optimizer_config")
    kind = values.get("type", "OptimizerHook")
    if kind not in ("OptimizerHook", "Fp16OptimizerHook"):
        raise UserError(
            f"setting 'optimizer_config.type' in the config: '{kind}' is not supported, use "
            "OptimizerHook or Fp16OptimizerHook"
        )
    fp16 = cfg.get("fp16") or {}
    for key, _value in _dict("fp16", fp16):
        if key != "loss_scale":
            raise unknown_setting("fp16", key, ["loss_scale"])
    scale = fp16.get("loss_scale", values.get("loss_scale", 512.0))
    from pftrack.training.optimizer import check_loss_scale  # with torch

    check_loss_scale(scale)
    # mm's fp16 concerns modules that ask for it, and of the release's none does (docs/training.md).
    return {"states_fp16": bool(fp16) or kind == "Fp16OptimizerHook", "loss_scale": scale}


def _tensorboard(cfg: Mapping[str, Any]) -> bool:
    hooks = _section(cfg, "log_config").get("hooks")
    if hooks is None:
        return True
    if not isinstance(hooks, (list, tuple)) or not all(isinstance(h, Mapping) for h in hooks):
        raise UserError("setting 'log_config.hooks' in the config: expected a list of dicts")
    for hook in hooks:
        if hook.get("type") not in ("TextLoggerHook", "TensorboardLoggerHook"):
            raise UserError(
                f"setting 'log_config.hooks' in the config: '{hook.get('type')}' is not supported, "
                "use TextLoggerHook or TensorboardLoggerHook"
            )
        for key in hook:
            if key not in ("type", "by_epoch"):
                raise unknown_setting(f"log_config.hooks.{hook['type']}", key, ["type", "by_epoch"])
    return any(hook["type"] == "TensorboardLoggerHook" for hook in hooks)


def _check_workflow(workflow: Any) -> None:
    if workflow and not same(workflow, [("train", 1)]):
        raise UserError(
            f"setting 'workflow' in the config: {workflow} is not supported, use [('train', 1)] "
            "and 'evaluation' for validation"
        )


def _check_hooks(hooks: Any) -> None:
    if hooks is not None and not isinstance(hooks, (list, tuple)):
        raise UserError("setting 'custom_hooks' in the config: expected a list of dicts")
    for hook in hooks or []:
        kind = str(hook.get("type")) if isinstance(hook, Mapping) else repr(hook)
        if not kind.endswith("Hook") or kind not in stated.STATED:
            raise UserError(
                f"setting 'custom_hooks' in the config: '{kind}' is not supported; "
                "remove it or add its work to pftrack/training/loop.py"
            )
