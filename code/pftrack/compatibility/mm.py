"""Makes this project's components known to mmdet3d's own builders.

After ``import pftrack.compatibility.mm`` (or ``custom_imports`` naming it in a configuration),
``mmdet3d.models.build_model`` builds :class:`Cam3DTracker`, ``build_backbone`` a VoVNet and
``mmdet3d.datasets.build_dataset`` the tracking dataset. Names that mmdet or mmdet3d have
themselves (``FPN``, ``FocalLoss``, ...) stay theirs; ``pftrack.FPN`` is ours. The way back needs no
import: a configuration of ours names ``mmdet.ResNet`` and the like (see registry.py).
"""

from __future__ import annotations

from mmcv.cnn import MODELS as MMCV_MODELS
from mmcv.utils import Registry
from mmdet.datasets.builder import DATASETS as MMDET_DATASETS
from mmdet.models.builder import MODELS as MMDET_MODELS
from mmdet3d.datasets.builder import DATASETS as MM_DATASETS
from mmdet3d.models.builder import MODELS as MM_MODELS

from pftrack import models as _models  # noqa: F401  (registers ours)
from pftrack.datasets import nuscenes_tracking_dataset as _dataset  # noqa: F401
from pftrack.registry import DATASETS, MODELS


def _copy(ours: Registry, theirs: Registry, taken: Registry) -> None:
    for name, component in ours.module_dict.items():
        if name not in theirs.module_dict and name not in taken.module_dict:
            theirs.register_module(name=name, module=component)


MMCV_MODELS.children[MODELS.scope] = MODELS
_copy(MODELS, MM_MODELS, MMDET_MODELS)
_copy(DATASETS, MM_DATASETS, MMDET_DATASETS)
