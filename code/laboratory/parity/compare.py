"""Golden files, the rows a check compares, and how far each may be off."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pftrack.errors import UserError

# (absolute, relative to the reference) by kind; integers, booleans and texts are always exact.
TOLERANCES = {
    "network": (1e-4, 1e-3),
    "gradient": (1e-6, 1e-3),
    "geometry": (1e-6, 1e-6),
    "numbers": (1e-9, 1e-9),
    "rates": (0.0, 1e-9),
    "change, median": (1e-3, 0.0),
    "change, 90 %": (1e-2, 0.0),
    "shown": (float("inf"), 0.0),  # beyond what rounding allows to judge
}


class Row(NamedTuple):
    """One array to compare.

    Attributes:
        name: of the array.
        ours, reference: arrays, tensors, numbers, or anything else that is compared for equality.
        kind: of :data:`TOLERANCES`.
    """

    name: str
    ours: Any
    reference: Any
    kind: str = "network"


@dataclass(frozen=True)
class GoldenFile:
    """``X.npz`` with its ``X.json``, or a json file alone.

    Attributes:
        path: of the json file.
    """

    path: Path

    @property
    def name(self) -> str:
        """File name without suffix."""
        return self.path.stem

    @property
    def folder(self) -> Path:
        """The golden folder."""
        return self.path.parent

    @property
    def config(self) -> str:
        """As the json names it, else ``petr/f3_q500_800x320`` for ``x_y_petr_f3_<seed>``."""
        if "config" in self.meta:
            return str(self.meta["config"])
        parts = self.name.split("_")
        if len(parts) < 5:
            raise UserError(
                f"golden file {self.path.name}: expected <kind>_<family>_<f1|f3>_<seed>"
            )
        return f"{parts[2]}/{parts[3]}_q500_800x320"

    @cached_property
    def meta(self) -> dict[str, Any]:
        """The json file."""
        try:
            return json.loads(self.path.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"golden file {self.path}: not readable as json: {error}") from None

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The npz file; empty when there is none."""
        path = self.path.with_suffix(".npz")
        if not path.is_file():
            return {}
        try:
            with np.load(path, allow_pickle=False) as content:
                return {name: content[name] for name in content.files}
        except (OSError, ValueError) as error:
            raise UserError(f"golden file {path}: not readable: {error}") from None


@dataclass(frozen=True)
class Comparison:
    """The outcome of one row. Errors are NaN where values are not numbers."""

    file: str
    array: str
    max_abs: float
    max_rel: float
    passed: bool
    note: str = ""


def compare(file: str, row: Row) -> Comparison:
    """Largest errors of a row, and whether all are within its tolerance."""
    ours, reference = _plain(row.ours), _plain(row.reference)
    if not (isinstance(ours, np.ndarray) and isinstance(reference, np.ndarray)):
        same = bool(ours == reference)
        note = "" if same else _first_difference(ours, reference)
        return Comparison(file, row.name, float("nan"), float("nan"), same, note)
    if ours.shape != reference.shape:
        note = f"shape {ours.shape}, reference {reference.shape}"
        return Comparison(file, row.name, float("inf"), float("inf"), False, note)
    if ours.size == 0:
        return Comparison(file, row.name, 0.0, 0.0, True, "empty")
    exact = reference.dtype.kind in "iub"
    ours, reference = ours.astype(np.float64), reference.astype(np.float64)
    same = (ours == reference) | (np.isnan(ours) & np.isnan(reference))
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.where(same, 0.0, np.abs(ours - reference))
        error = np.where(np.isnan(error), np.inf, error)
        relative = np.where(same, 0.0, error / np.abs(reference))
    absolute_limit, relative_limit = (0.0, 0.0) if exact else TOLERANCES[row.kind]
    with np.errstate(invalid="ignore"):
        limit = absolute_limit + relative_limit * np.abs(reference)
        outside = ~same & ~(error <= limit)
    note = f"{int(outside.sum())} of {outside.size} outside" if outside.any() else ""
    if row.kind == "shown":
        note = "shown, not judged"
    return Comparison(
        file, row.name, float(error.max()), float(relative.max()), not outside.any(), note
    )


def _plain(value: Any) -> Any:
    """Tensors and numbers as arrays; texts and structures as they are."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, (bool, int, float)):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "US":
        return value.tolist()
    return value


def _first_difference(ours: Any, reference: Any) -> str:
    if isinstance(ours, Mapping) and isinstance(reference, Mapping):
        missing, extra = sorted(set(reference) - set(ours)), sorted(set(ours) - set(reference))
        changed = [k for k in reference if k in ours and ours[k] != reference[k]]
        return f"missing {missing[:3]}, unexpected {extra[:3]}, different {changed[:3]}"
    if isinstance(ours, (list, tuple)) and isinstance(reference, (list, tuple)):
        for i, (a, b) in enumerate(zip(ours, reference, strict=False)):
            if a != b:
                return f"entry {i}: {a!r}, reference {b!r}"[:120]
        return f"{len(ours)} entries, reference {len(reference)}"
    return f"{ours!r}, reference {reference!r}"[:120]
