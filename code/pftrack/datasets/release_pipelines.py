"""Reads the transform pipelines of configurations written for the original release.

There a dataset is given lists of transforms; which transforms, and in which order, is the same in
all of them, so a dataset here takes their settings as arguments. A pipeline is therefore read, not
run: each transform's settings become arguments, and an unknown transform is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pftrack.errors import UserError
from pftrack.stated import accept

PIPELINE_KEYS = ("pipeline", "pipeline_single", "pipeline_post", "pipeline_multiframe")

# Transform -> {its setting: our argument}; stated.py has the settings without effect.
_READ: dict[str, dict[str, str]] = {
    "ResizeCropFlipImage": {"data_aug_conf": "ida_aug_conf", "training": "augment"},
    "NormalizeMultiviewImage": {"mean": "mean", "std": "std"},
    "PadMultiViewImage": {"size_divisor": "size_divisor"},
    "InstanceRangeFilter": {"point_cloud_range": "point_cloud_range"},
    "ObjectRangeFilter": {"point_cloud_range": "point_cloud_range"},
    "ObjectNameFilter": {"classes": "classes"},
    "DefaultFormatBundle3D": {"class_names": "classes"},
    "LoadAnnotations3D": {"with_forecasting": "forecasting"},
    "LoadAnnotations3DForecasting": {},
    "MultiScaleFlipAug3D": {"transforms": "transforms"},
    # Their work is done anyway (or, for points, by no model here).
    "LoadMultiViewImageFromFiles": {},
    "Collect3D": {},
    "FormatBundle3D": {},
    "FormatBundle3DTrack": {},
    "LoadPointsFromFile": {},
    "LoadPointsFromMultiSweeps": {},
}


def settings_from_pipelines(pipelines: Iterable[Any]) -> dict[str, Any]:
    """Dataset arguments that the transforms of mm-style pipelines stand for.

    Raises:
        UserError: a transform that nothing here corresponds to, or a setting that is not supported.
    """
    settings: dict[str, Any] = {}
    for transform in (t for pipeline in pipelines if pipeline for t in pipeline):
        name = transform.get("type") if isinstance(transform, Mapping) else None
        plain = str(name).removeprefix("Forecast").removeprefix("Track")
        if plain not in _READ:
            raise UserError(
                f"the dataset's pipeline in the config names the transform '{name}', which is not "
                "known here: give the dataset its settings as arguments (ida_aug_conf, "
                "point_cloud_range, ...), or register it and list it in 'transforms'"
            )
        accept(transform, str(name), read=("type", *_READ[plain]))
        if plain == "NormalizeMultiviewImage" and transform.get("to_rgb", True):
            raise UserError(
                f"'{name}' in the config: to_rgb=True, which is also meant where nothing is "
                "stated, is not supported: models take BGR"
            )
        read = {o: transform[k] for k, o in _READ[plain].items() if k in transform}
        settings.update(settings_from_pipelines([read.pop("transforms", None)]))
        for key in ("mean", "std"):
            if key in read:
                settings.setdefault("img_norm_cfg", {})[key] = read.pop(key)
        settings.update(read)
    return settings
