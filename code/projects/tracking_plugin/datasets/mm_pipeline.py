"""Reads the transform pipelines of configurations written for the original release.

There a dataset is given lists of transforms; which transforms, and in which order, is the same in
all of them, so a dataset here takes their settings as arguments. A pipeline is therefore read, not
run: each transform's settings become arguments, and an unknown transform is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from projects.tracking_plugin.errors import UserError

PIPELINE_KEYS = ("pipeline", "pipeline_single", "pipeline_post", "pipeline_multiframe")

# Transform -> {its setting: our argument}; settings that are absent here have one meaning only.
_READ: dict[str, dict[str, str]] = {
    "ResizeCropFlipImage": {"data_aug_conf": "ida_aug_conf"},
    "NormalizeMultiviewImage": {"mean": "mean", "std": "std"},
    "PadMultiViewImage": {"size_divisor": "size_divisor"},
    "InstanceRangeFilter": {"point_cloud_range": "point_cloud_range"},
    "ObjectRangeFilter": {"point_cloud_range": "point_cloud_range"},
    "ObjectNameFilter": {"classes": "classes"},
    "DefaultFormatBundle3D": {"class_names": "classes"},
}
# Transforms whose work every dataset here does (or, for points, that no model here needs).
_BUILT_IN = (
    "LoadMultiViewImageFromFiles",
    "LoadAnnotations3D",
    "LoadAnnotations3DForecasting",
    "Collect3D",
    "FormatBundle3D",
    "FormatBundle3DTrack",
    "ScaleMultiViewImage3D",
    "LoadPointsFromFile",
    "LoadPointsFromMultiSweeps",
    "MultiScaleFlipAug3D",
)


def settings_from_pipelines(pipelines: Iterable[Any]) -> dict[str, Any]:
    """Dataset arguments that the transforms of mm-style pipelines stand for.

    Raises:
        UserError: a transform that nothing here corresponds to, or a setting that is not supported.
    """
    settings: dict[str, Any] = {}
    for transform in (t for pipeline in pipelines if pipeline for t in pipeline):
        name = transform.get("type") if isinstance(transform, Mapping) else None
        plain = str(name).removeprefix("Forecast").removeprefix("Track")
        if plain in _READ:
            read = {o: transform[k] for k, o in _READ[plain].items() if transform.get(k)}
        elif plain in _BUILT_IN:
            read = settings_from_pipelines([transform.get("transforms")])
        else:
            raise UserError(
                f"the dataset's pipeline in the config names the transform '{name}', which is not "
                "known here: give the dataset its settings as arguments (ida_aug_conf, "
                "point_cloud_range, ...), or register it and list it in 'transforms'"
            )
        if transform.get("to_rgb"):
            raise UserError(f"'{name}' in the config: to_rgb=True is not supported, models eat BGR")
        for key in ("mean", "std"):
            if key in read:
                settings.setdefault("img_norm_cfg", {})[key] = read.pop(key)
        settings.update(read)
    return settings
