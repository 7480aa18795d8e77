"""Datasets from configuration files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pftrack.datasets.class_names import class_names
from pftrack.datasets.nuscenes_tracking_dataset import NuScenesTrackingDataset
from pftrack.datasets.release_pipelines import PIPELINE_KEYS, settings_from_pipelines
from pftrack.errors import UserError
from pftrack.registry import DATASETS


def build_dataset(
    cfg: Mapping[str, Any], split: str = "train", **overrides: Any
) -> NuScenesTrackingDataset:
    """The dataset ``cfg.data[split]``.

    Args:
        cfg: an expanded configuration.
        split: ``train``, or ``val``, ``test``, ``test_tracking``, which are in test mode.
        overrides: arguments that replace those of the configuration.

    Raises:
        UserError: no such section, an unknown dataset, or from the dataset itself.
    """
    section = (cfg.get("data") or {}).get(split)
    if not section:
        raise UserError(f"the config has no 'data.{split}'")
    _check_mode(section, split)
    section = {"classes": class_names(cfg), **section, "test_mode": split != "train", **overrides}
    if DATASETS.get(section.get("type", "")) is None:
        raise UserError(
            f"unknown dataset '{section.get('type')}' in 'data.{split}' of the config (known: "
            f"{', '.join(DATASETS.module_dict)})"
        )
    try:
        return DATASETS.build(section)
    except TypeError as error:
        cause = error.__cause__ or error
        raise UserError(f"'data.{split}' in the config: {cause}") from None


def _check_mode(section: Mapping[str, Any], split: str) -> None:
    """Refuse a training split without augmentation, and a test split with it."""
    training = split == "train"
    read = settings_from_pipelines(section.get(key) for key in PIPELINE_KEYS)
    if training and section.get("test_mode"):
        raise UserError("'data.train' in the config: test_mode=True is not for training")
    if read.get("augment", training) != training:
        raise UserError(
            f"'data.{split}' in the config: TrackResizeCropFlipImage has training={not training}; "
            "training draws its augmentation, from as narrow a data_aug_conf as you like, and "
            "testing does not"
        )
