"""Datasets from configuration files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pftrack.config import load_config
from pftrack.datasets.class_names import class_names
from pftrack.datasets.nuscenes_tracking_dataset import NuScenesTrackingDataset
from pftrack.datasets.release_pipelines import PIPELINE_KEYS, settings_from_pipelines
from pftrack.errors import UserError
from pftrack.nuscenes.splits import is_split_file
from pftrack.nuscenes.versions import SPLITS, info_file_name
from pftrack.registry import DATASETS, check_arguments


def build_dataset(
    cfg: Mapping[str, Any], name: str = "train", **overrides: Any
) -> NuScenesTrackingDataset:
    """The dataset ``cfg.data[name]``.

    Args:
        cfg: an expanded configuration.
        name: of the section: ``train``, or ``val``, ``test``, ``test_tracking``: in test mode.
        overrides: arguments that replace those of the configuration.

    Raises:
        UserError: no such section, an unknown dataset, or from the dataset itself.
    """
    section = (cfg.get("data") or {}).get(name)
    if not section:
        raise UserError(f"the config has no 'data.{name}'")
    _check_mode(section, name)
    section = {"classes": class_names(cfg), **section, "test_mode": name != "train", **overrides}
    if DATASETS.get(str(section.get("type"))) is None:
        raise UserError(
            f"unknown dataset '{section.get('type')}' in 'data.{name}' of the config (known: "
            f"{', '.join(DATASETS.module_dict)})"
        )
    check_arguments(DATASETS.get(section["type"]), section)
    try:
        return DATASETS.build(section)
    except TypeError as error:
        cause = error.__cause__ or error
        raise UserError(f"'data.{name}' in the config: {cause}") from None


def data_options(
    config: str | Path,
    nuscenes: str | Path | None,
    version: str | None = None,
    overrides: Sequence[str] = (),
    train_split: str | None = None,
) -> tuple[str, ...]:
    """Overrides that point a configuration at other data, followed by the given ones.

    Args:
        nuscenes: folder with samples/ and the info files; None: the configuration's.
        version: whose info files; None: those of the names that the configuration has.
        train_split: name or file of the split to train on; None: the configuration's.

    Raises:
        UserError: from the configuration; no such folder or version.
    """
    if train_split is not None:
        split = os.path.abspath(train_split) if is_split_file(train_split) else train_split
        overrides = (f"data.train.split={split!r}", *overrides)
    if nuscenes is None and version is None:
        return tuple(overrides)
    if nuscenes is not None and not Path(nuscenes).is_dir():
        raise UserError(
            f"no nuScenes folder {nuscenes}: NUSCENES / --nuscenes names the one with samples/"
        )
    if version is not None and version not in SPLITS:
        raise UserError(f"unknown nuScenes version '{version}': use one of {', '.join(SPLITS)}")
    options = []
    data = load_config(config, overrides).get("data") or {}
    for name, section in data.items():
        file = section.get("ann_file") if isinstance(section, Mapping) else None
        if not isinstance(file, str):
            continue
        path = Path(file)
        if version is not None:
            split = "train" if "infos_train" in path.name else "val"
            path = path.with_name(info_file_name(version, split))
        if nuscenes is not None:
            path = Path(nuscenes, path.name)
            options.append(f"data.{name}.data_root={os.fspath(nuscenes)!r}")
        options.append(f"data.{name}.ann_file={str(path)!r}")
    return (*options, *overrides)


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
