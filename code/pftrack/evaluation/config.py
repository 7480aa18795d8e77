"""Settings of the nuScenes tracking metrics, read from the devkit's own configuration file."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from pftrack.errors import UserError

_OFFICIAL = "eval/tracking/configs/tracking_nips_2019.json"


@dataclass(frozen=True)
class TrackingConfig:
    """Fields as in the devkit's ``TrackingConfig``; ``raw`` is the file's content."""

    class_names: tuple[str, ...]
    class_range: dict[str, float]
    dist_th_tp: float
    min_recall: float
    max_boxes_per_sample: int
    metric_worst: dict[str, float]
    num_thresholds: int
    raw: dict


def official_config_path() -> Path:
    """``tracking_nips_2019.json`` of the installed devkit, found without importing it.

    Raises:
        UserError: the devkit is not installed.
    """
    spec = importlib.util.find_spec("nuscenes")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("nuscenes-devkit is not installed: its tracking configuration is needed")
    return Path(spec.submodule_search_locations[0]) / _OFFICIAL


def load_tracking_config(path: str | Path | None = None) -> TrackingConfig:
    """Read a configuration in the devkit's format; None: the official one.

    Raises:
        UserError: the file cannot be read, lacks a field or names another distance function.
    """
    path = official_config_path() if path is None else Path(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        config = TrackingConfig(
            class_names=tuple(sorted(raw["class_range"])),
            class_range={name: float(value) for name, value in raw["class_range"].items()},
            dist_th_tp=float(raw["dist_th_tp"]),
            min_recall=float(raw["min_recall"]),
            max_boxes_per_sample=int(raw["max_boxes_per_sample"]),
            metric_worst={name: float(value) for name, value in raw["metric_worst"].items()},
            num_thresholds=int(raw["num_thresholds"]),
            raw=raw,
        )
    except OSError as error:
        raise UserError(f"cannot read metric configuration {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"metric configuration {path} is not usable: {error!r}") from None
    if raw["dist_fcn"] != "center_distance":
        raise UserError(f"metric configuration {path}: dist_fcn must be center_distance")
    return config
