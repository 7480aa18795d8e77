"""Importing this module lets ``mmdet3d.datasets.build_dataset`` build our dataset by its name.

For scripts of mmdet3d itself: ``custom_imports = dict(imports=[<this module>])`` in a config.
"""

from __future__ import annotations

from mmdet3d.datasets import DATASETS as MMDET3D_DATASETS

from pftrack.datasets.nuscenes_tracking_dataset import NuScenesTrackingDataset

MMDET3D_DATASETS.register_module(module=NuScenesTrackingDataset, force=True)
