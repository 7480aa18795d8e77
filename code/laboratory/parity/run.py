"""Compares this code with a folder of golden files: which check reads which file.

A check is a function ``check(golden: GoldenFile) -> Iterator[Row]``. To add one, write it in a
module of this package and name it in :data:`CHECKS`.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import cast

from laboratory.parity.compare import Comparison, GoldenFile, Row, compare
from pftrack.errors import UserError

# Prefix of the file name -> module and function; the longest matching prefix counts. Neighbours
# in the order of the list share the model they build.
CHECKS = {
    "input_check": "check_state:check_inputs",
    "weights_check": "check_state:check_weights",
    "state_dict_summary": "check_state:check_summary",
    "state_dict_": "check_state:check_state_dict",
    "g_unit": "check_unit:check",
    "e_nusc": "check_data:check_conversion",
    "f_aug": "check_data:check_augmentation",
    "a_feats": "check_network:check_features",
    "b_head": "check_network:check_head",
    "d_track": "check_track:check",
    "c_train": "check_train:check",
    "h_rules": "check_rules:check_rules",
    "h_init": "check_rules:check_init",
    "h_run": "check_trajectory:check",
}
# Inputs of the checks; nothing of ours to compare.
INPUTS = ("cls_bias",)
INFOS = "infos"


def golden_files(folder: str | Path, only: str = "") -> list[GoldenFile]:
    """The golden files of a folder whose names begin with ``only``, in a good order to check.

    Raises:
        UserError: no such folder, or nothing in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"golden folder {folder} does not exist: give a folder of golden files")
    files = [GoldenFile(path) for path in sorted(folder.glob("*.json"))]
    files = [f for f in files if f.name not in INPUTS and f.name.startswith(only)]
    if (folder / INFOS).is_dir() and INFOS.startswith(only):
        files.append(GoldenFile(folder / INFOS))
    if not files:
        raise UserError(f"golden folder {folder} has no golden files{f' {only}*' if only else ''}")
    return sorted(files, key=_order)


def _order(golden: GoldenFile) -> tuple[str, int, str]:
    prefix = _prefix(golden.name)
    kinds = list(CHECKS)
    with_model = prefix in kinds[kinds.index("a_feats") : kinds.index("h_rules")]
    return (golden.config if with_model else "", kinds.index(prefix) if prefix else 99, golden.name)


def _prefix(name: str) -> str:
    return max((p for p in CHECKS if name.startswith(p)), key=len, default="")


def _check(name: str) -> Callable[[GoldenFile], Iterator[Row]] | None:
    target = "check_data:check_infos" if name == INFOS else CHECKS.get(_prefix(name))
    if target is None:
        return None
    module, function = target.split(":")
    check = getattr(importlib.import_module(f"{__package__}.{module}"), function)
    return cast(Callable[[GoldenFile], Iterator[Row]], check)


def check_file(golden: GoldenFile) -> Iterator[Comparison]:
    """Compare one golden file, array by array; a check that breaks is a failed row."""
    check = _check(golden.name)
    if check is None:
        note = f"no check for this file (known: {', '.join(CHECKS)})"
        yield Comparison(golden.name, "-", math.inf, math.inf, False, note)
        return
    last = "the beginning"
    try:
        for row in check(golden):
            last = row.name
            yield compare(golden.name, row)
    except UserError:
        raise
    except Exception as error:
        note = f"check broke after {last}: {type(error).__name__}: {error}"
        yield Comparison(golden.name, "-", math.inf, math.inf, False, note)


def report(folder: str | Path, only: str = "", as_json: bool = False) -> int:
    """Print the table (or json); the exit status: 1 when anything fails."""
    from tqdm import tqdm

    rows: list[Comparison] = []
    files = golden_files(folder, only)
    for golden in tqdm(files, desc="golden files", unit="file", disable=None):
        for row in check_file(golden):
            rows.append(row)
            if not as_json:
                tqdm.write(format_row(row))
    failed = sum(not row.passed for row in rows)
    if as_json:
        print(json.dumps([_json_row(row) for row in rows], indent=1))
    else:
        print(f"{len(rows)} arrays in {len(files)} files: {len(rows) - failed} pass, {failed} fail")
    return 1 if failed else 0


def format_row(row: Comparison) -> str:
    """file, array, largest absolute error, largest relative error, pass or fail."""
    errors = "  ".join(
        f"{name} {value:9.2e}" if not math.isnan(value) else f"{name}     exact"
        for name, value in (("abs", row.max_abs), ("rel", row.max_rel))
    )
    verdict = "pass" if row.passed else "FAIL"
    return f"{row.file:32s} {row.array:40s} {errors}  {verdict}  {row.note}".rstrip()


def _json_row(row: Comparison) -> dict[str, object]:
    """JSON has no NaN or infinity: those become null."""
    return {
        k: None if isinstance(v, float) and not math.isfinite(v) else v
        for k, v in asdict(row).items()
    }
