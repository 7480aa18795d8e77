"""A results file as arrays per frame, for analysis elsewhere (``--out F.pkl``)."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from pftrack.files import atomic
from pftrack.nuscenes.results_file import read_results

_WIDTH = {"translation": 3, "size": 3, "rotation": 4, "velocity": 2}


def write_pickle(result_path: str | Path, out: str | Path) -> None:
    """Write ``[{"sample_token", "translation": [n, 3], ..., "tracking_id": [...]}, ...]``.

    Only plain values and numpy arrays; one entry per frame in the order of the results file.
    """
    with atomic(out, "wb") as file:
        pickle.dump(_frames(result_path), file)


def _frames(result_path: str | Path) -> list[dict[str, Any]]:
    return [
        {"sample_token": token, **_columns(boxes)} for token, boxes in read_results(result_path)
    ]


def _columns(boxes: list[dict[str, Any]]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: np.array([b[name] for b in boxes], float).reshape(-1, width)
        for name, width in _WIDTH.items()
    }
    columns["tracking_score"] = np.array([b["tracking_score"] for b in boxes], float)
    columns["tracking_name"] = [b["tracking_name"] for b in boxes]
    columns["tracking_id"] = [b["tracking_id"] for b in boxes]
    if boxes and all("forecasting" in b for b in boxes):
        columns["forecasting"] = np.array([b["forecasting"] for b in boxes], float)
    return columns
