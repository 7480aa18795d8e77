"""Golden files e_, f_ (boxes, results, images) and the folder ``infos`` (converter)."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from laboratory.parity import data_checks
from laboratory.parity.compare import GoldenFile, Row
from pftrack.conversion.run import convert_folder
from pftrack.datasets.infos import read_pickle
from pftrack.errors import UserError


def check_conversion(golden: GoldenFile) -> Iterator[Row]:
    """e_: one sample's boxes to the dicts of both submission formats."""
    for name, ours, reference in data_checks.check_conversion(golden.arrays, golden.meta):
        yield Row(name, ours, reference, "geometry")


def check_augmentation(golden: GoldenFile) -> Iterator[Row]:
    """f_: draws, pixels and matrices of every variant."""
    for name, ours, reference in data_checks.check_augmentation(golden.arrays, golden.meta):
        yield Row(name, ours, reference, "geometry")


def check_infos(golden: GoldenFile) -> Iterator[Row]:
    """infos/: the converter's info files of the tables beside them, field by field."""
    folder = golden.path.resolve()
    versions = sorted(folder.glob("*/v1.0-*"))
    if not versions:
        raise UserError(f"golden folder {folder} has no tables (nuscenes/v1.0-...)")
    root, version = versions[0].parent.name, versions[0].name
    with tempfile.TemporaryDirectory() as out:
        # Paths inside the reference are relative to the folder.
        with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
            convert_folder(root, version, out)
        for path in sorted(folder.glob("*.pkl")):
            ours, reference = _load(Path(out) / path.name), _load(path)
            yield Row(f"{path.stem}.layout", _layout(ours), _layout(reference))
            ours_fields, fields = _fields(ours), _fields(reference)
            for field, values in fields.items():
                yield Row(
                    f"{path.stem}.{field}",
                    _array(ours_fields.get(field, [])),
                    _array(values),
                    "numbers",
                )


def _load(path: Path) -> Any:
    return read_pickle(path)


def _layout(value: Any) -> Any:
    """Types, keys in order and lengths, without the values."""
    if isinstance(value, dict):
        return {key: _layout(item) for key, item in value.items()} | {"keys": list(value)}
    if isinstance(value, list):
        return [_layout(item) for item in value]
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape
    return type(value).__name__


def _fields(value: Any, name: str = "", found: dict[str, list[Any]] | None = None) -> dict:
    """All leaves by the dict keys that lead to them (cameras and list positions left out)."""
    found = {} if found is None else found
    if isinstance(value, dict):
        for key, item in value.items():
            camera = key.startswith(("CAM_", "RADAR_"))
            _fields(item, name if camera else f"{name}.{key}".lstrip("."), found)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _fields(item, name, found)
    else:
        found.setdefault(name, []).extend(np.asarray(value).ravel().tolist())
    return found


def _array(values: list[Any]) -> Any:
    """Numbers as an array, anything else as the list itself."""
    numeric = all(isinstance(v, (bool, int, float)) for v in values)
    return np.array(values) if numeric else values
