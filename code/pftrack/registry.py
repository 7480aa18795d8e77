"""Registries: the plug-in points that configuration files name.

Our scope is ``pftrack``. A name is looked up here first; a prefixed name (``mmdet.ResNet``,
``mmdet3d.X``) or one we do not know imports the library that has it, so that a configuration pays
for mmdet / mmdet3d only when it uses them.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, get_type_hints

import msgspec
from mmcv.utils import Registry

from pftrack.errors import UserError
from pftrack.stated import same

# Where a scope's components register themselves when imported.
_SCOPE_MODULES = {"mmdet": "mmdet.models", "mmdet3d": "mmdet3d.models", "mmseg": "mmseg.models"}

MODELS = Registry("models", scope="pftrack")
DATASETS = Registry("datasets", scope="pftrack")
TRANSFORMS = Registry("transforms", scope="pftrack")


def build_model(cfg: Mapping[str, Any], **defaults: Any) -> Any:
    """Build a model component from a config dict with a ``type``.

    Args:
        cfg: ``type`` names a class of ours, or of another scope as ``scope.Name``.
        defaults: keyword arguments used where ``cfg`` does not set them.

    Raises:
        UserError: no registry knows the name, or the component has no such arguments or takes no
            such value.
    """
    cfg = {**defaults, **cfg}
    if "type" not in cfg:
        raise UserError(f"a model component in the config has no 'type': {sorted(cfg)}")
    if isinstance(cfg["type"], str):
        cfg["type"] = find_model(cfg["type"])
    elif not inspect.isclass(cfg["type"]):
        raise UserError(f"a model component in the config has no name as 'type': {cfg['type']!r}")
    pretrained = _take_pretrained(cfg)
    check_arguments(cfg["type"], cfg)
    try:
        built = MODELS.build(cfg)
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        # A TypeError for the arguments themselves names one; the others are about a value.
        if not isinstance(error, TypeError) or "argument" in str(error):
            reason = " ".join(str(error).split())
            raise UserError(f"model in the config: {reason}") from error
        raise
    if pretrained is not None:
        built.init_cfg = pretrained
    return built


def check_arguments(component: Any, settings: Mapping[str, Any]) -> None:
    """Compare what a configuration says with the types that a component of ours declares.

    Raises:
        UserError: a value of another type.
    """
    if not _is_ours(component):
        return
    hints: dict[str, Any] = {}
    for kind in reversed(component.__mro__):  # a subclass may hand its settings on
        declared = kind if is_dataclass(kind) else vars(kind).get("__init__")
        if _is_ours(kind) and declared is not None:
            hints |= get_type_hints(declared, include_extras=True)
    for name, value in settings.items():
        if name in hints and name != "type":
            try:
                msgspec.convert(value, hints[name])
            except msgspec.ValidationError as error:
                reason = str(error).replace("`", "")
                raise UserError(
                    f"{component.__name__}.{name} in the config: {reason} ({value!r:.80})"
                ) from error
            except TypeError:  # a type that only Python understands
                continue


def _is_ours(component: Any) -> bool:
    return getattr(component, "__module__", "").startswith("pftrack.")


def check_agreement(
    setting: str, owner: str, value: Any, parts: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse a model of which a part states another value of ``setting``."""
    for name, part in parts.items():
        if part.get(setting) is not None and not same(part[setting], value):
            raise UserError(
                f"model in the config: {setting} of {owner} is {value}, but of {name} "
                f"{part[setting]}: make them equal"
            )


def is_pretrained(setting: Any) -> bool:
    """Whether an ``init_cfg`` names a file of weights."""
    return isinstance(setting, Mapping) and setting.get("type") == "Pretrained"


def _take_pretrained(cfg: dict[str, Any]) -> Mapping[str, Any] | None:
    """The file of weights named by a component that has no argument for it, taken out of ``cfg``:
    the training loads it (training/pretrained.py)."""
    known = inspect.signature(cfg["type"]).parameters if callable(cfg["type"]) else {}
    others = any(parameter.kind == parameter.VAR_KEYWORD for parameter in known.values())
    if isinstance(cfg.get("pretrained"), str) and "pretrained" not in known and not others:
        return {"type": "Pretrained", "checkpoint": cfg.pop("pretrained")}
    if is_pretrained(cfg.get("init_cfg")) and "init_cfg" not in known:
        return cfg.pop("init_cfg")
    return None


def find_model(name: str) -> type:
    """The class registered as ``name`` or ``scope.name``.

    Raises:
        UserError: no registry knows it, or the library that would is not installed.
    """
    importlib.import_module("pftrack.models")
    scope, key = Registry.split_scope_key(name)
    if scope in (None, MODELS.scope):
        found = MODELS.get(key)
        if found is not None:
            return found
    elif scope not in _SCOPE_MODULES:
        raise UserError(f"unknown component '{name}': no registry scope '{scope}'")
    from mmcv.cnn import MODELS as MMCV_MODELS  # half of torch comes with it

    # mmdet before mmdet3d: unprefixed names of the original configurations are mmdet's.
    for candidate in [scope] if scope else ["mmdet", "mmdet3d"]:
        if candidate not in _SCOPE_MODULES:
            break
        importlib.import_module(_SCOPE_MODULES[candidate])
        found = MMCV_MODELS.children[candidate].get(key)
        if found is not None:
            return found
    raise UserError(f"unknown component '{name}': not registered in pftrack, mmdet or mmdet3d")
