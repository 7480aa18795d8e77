"""Which configuration a checkpoint belongs to, decided by its keys and shapes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pftrack.checkpoints.manifest import load_manifest
from pftrack.checkpoints.reading import (
    LoadReport,
    compare_keys,
    find_checkpoint,
    load_checkpoint_file,
)
from pftrack.checkpoints.weights import extract_state_dict
from pftrack.config import configuration_name
from pftrack.errors import UserError
from pftrack.paths import CODE, CONFIGS

Shapes = dict[str, tuple[int, ...]]


@dataclass
class Fit:
    """How a checkpoint fits one model.

    Attributes:
        configs: the configurations (paths relative to ``code/``) that build this model.
        report: the comparison, as if it were loaded.
        expected: number of entries the model has.
    """

    configs: list[str]
    report: LoadReport
    expected: int

    @property
    def share(self) -> float:
        """Entries that fit, of all entries on either side."""
        r = self.report
        return len(r.loaded) / max(self.expected + len(r.skipped), 1)

    @property
    def exact(self) -> bool:
        return self.report.complete


def model_shapes(model_cfg: Mapping[str, Any]) -> Shapes:
    """Entry -> shape of a configured model, built without memory for its weights."""
    from pftrack.registry import build_model

    with torch.device("meta"):
        model = build_model(dict(model_cfg))
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def known_models(folder: Path = CONFIGS) -> list[tuple[list[str], Shapes]]:
    """(configurations, shapes) of every distinct model among the configuration files."""
    from pftrack.config import load_config

    models: dict[str, tuple[list[str], Shapes]] = {}
    built: dict[str, Shapes] = {}  # half of the files state a model that another one states, too
    for path in sorted(folder.rglob("*.py")):
        model = load_config(path).model
        stated = json.dumps(model, sort_keys=True, default=str)
        shapes = built[stated] = built.get(stated) or model_shapes(model)
        signature = json.dumps(sorted((k, v) for k, v in shapes.items()))
        name = path.relative_to(CODE).as_posix() if path.is_relative_to(CODE) else str(path)
        models.setdefault(signature, ([], shapes))[0].append(name)
    return list(models.values())


def fits(
    weights: Mapping[str, Tensor], models: list[tuple[list[str], Shapes]], source: str = ""
) -> list[Fit]:
    """The fit to every model, best first."""
    found = [
        Fit(configs, compare_keys(weights, shapes, source), len(shapes))
        for configs, shapes in models
    ]
    return sorted(found, key=lambda fit: -fit.share)


def meta_image_size(meta: Mapping[str, Any]) -> str | None:
    """``"800x320"`` when the training configuration stored in a checkpoint says so."""
    match = re.search(
        r"final_dim['\"]?\s*[=:]\s*[(\[]\s*(\d+)\s*,\s*(\d+)", str(meta.get("config"))
    )
    return f"{match[2]}x{match[1]}" if match else None


def choose_config(configs: list[str], size: str | None, name: str = "") -> str:
    """Of configurations with the same weights: the one of this name, else of this image size.

    Without either the small one, and of twins the one that :func:`configuration_name` names.
    """
    same = [c for c in configs if name and Path(c).stem == Path(name).stem]
    if same:
        return same[0]
    guides = {c for c in configs if configuration_name(c).endswith(f"/{Path(c).stem}")}
    ranked = sorted(configs, key=lambda c: ("1600x640" in c, c not in guides, c))
    return next((c for c in ranked if size and size in c), ranked[0])


def config_of_checkpoint(checkpoint: str | Path) -> Path:
    """The configuration file to use with a checkpoint when the user named none.

    Published files have theirs in the manifest; others are decided by their keys and shapes, and
    by the configuration's name or the image size in their meta.

    Raises:
        UserError: no configuration builds a model with exactly these entries.
    """
    path = find_checkpoint(checkpoint)
    published = load_manifest().for_path(path)
    if published is not None and published.config is not None:
        return CODE / published.config
    content = load_checkpoint_file(path)
    best = fits(extract_state_dict(content, str(path)), known_models(), str(path))[0]
    if not best.exact:
        raise UserError(
            f"no configuration fits '{path}' exactly (closest: {best.configs[0]}, "
            f"{100 * best.share:.0f}%); name one with CONFIG=, or look with 'make inspect "
            f"CKPT={checkpoint}'"
        )
    meta = content.get("meta") or {}
    return CODE / choose_config(best.configs, meta_image_size(meta), str(meta.get("exp_name")))
