"""Registries: the plug-in points that configuration files name.

Ours hang below mmcv's root registry under the scope ``pftrack``. A name is looked up here first; a
prefixed name (``mmdet.ResNet``, ``mmdet3d.X``) or one we do not know imports the library that has
it, so that a configuration pays for mmdet / mmdet3d only when it uses them.
"""

from __future__ import annotations

import importlib
from typing import Any

from mmcv.cnn import MODELS as MMCV_MODELS
from mmcv.utils import Registry

from projects.tracking_plugin.errors import UserError

# Where a scope's components register themselves when imported.
_SCOPE_MODULES = {"mmdet": "mmdet.models", "mmdet3d": "mmdet3d.models", "mmseg": "mmseg.models"}

MODELS = Registry("models", parent=MMCV_MODELS, scope="pftrack")
DATASETS = Registry("datasets", scope="pftrack")
TRANSFORMS = Registry("transforms", scope="pftrack")


def build_model(cfg: dict[str, Any], **defaults: Any) -> Any:
    """Build a model component from a config dict with a ``type``.

    Args:
        cfg: ``type`` names a class of ours, or of another scope as ``scope.Name``.
        defaults: keyword arguments used where ``cfg`` does not set them.

    Raises:
        UserError: no registry knows the name.
    """
    cfg = {**defaults, **cfg}
    name = cfg["type"]
    if not isinstance(name, str) or MODELS.get(name) is not None:
        return MODELS.build(cfg)
    scope = name.split(".")[0] if "." in name else None
    if scope is not None and scope not in _SCOPE_MODULES:
        raise UserError(f"unknown component '{name}': no registry scope '{scope}'")
    # mmdet before mmdet3d: unprefixed names of the original configurations are mmdet's.
    for candidate in [scope] if scope else ["mmdet", "mmdet3d"]:
        importlib.import_module(_SCOPE_MODULES[candidate])
        qualified = name if scope else f"{candidate}.{name}"
        if MODELS.get(qualified) is not None:
            return MODELS.build({**cfg, "type": qualified})
    raise UserError(f"unknown component '{name}': not registered in pftrack, mmdet or mmdet3d")
