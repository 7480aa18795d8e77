"""A small tracker as files: its configuration and a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from street_frames import AUGMENTATION
from tiny_tracker import detr3d, tracker_config

from laboratory.parity.weights import fill
from pftrack.registry import build_model
from pftrack.structures import CLASSES

# Random networks are sure of less: thresholds among what they say.
THRESHOLDS = {
    "output_threshold": 0.5,
    "score_threshold": 0.55,
    "record_threshold": 0.55,
    "max_age_since_update": 3,
}
KINDS: dict[str, dict[str, Any]] = {
    "petr": {},
    "detr3d": {
        "reasoning": False,
        "runtime_tracker": {
            "output_threshold": 0.03,
            "score_threshold": 0.04,
            "record_threshold": 0.0,
        },
        **detr3d(),
    },
}


def sources(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """A configuration and a checkpoint of a small tracker, as files."""
    config, checkpoint = folder / "config.py", folder / "tiny.pth"
    model = tracker_config(**{"runtime_tracker": THRESHOLDS, **changes})
    data = {"test": {"ida_aug_conf": AUGMENTATION}}
    config.write_text(f"model = {model!r}\nclass_names = {list(CLASSES)!r}\ndata = {data!r}\n")
    network = build_model(model)
    fill(network)
    torch.save({"state_dict": network.state_dict()}, checkpoint)
    return config, checkpoint
