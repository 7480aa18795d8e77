"""One picture that shows what a generated dataset looks like."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from laboratory.demo_data.generate import MARKER
from pftrack.files import atomic
from pftrack.nuscenes.table_files import iter_rows

LAYOUT = (
    ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"),
    ("CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT"),
)
TILE = (400, 225)
MOMENTS = 3


def write_contact_sheet(root: Path, path: Path) -> None:
    """Write ``path`` (.jpg or .png): the six cameras of the generated dataset ``root`` at
    :data:`MOMENTS` moments."""
    tables = root / json.loads((root / MARKER).read_text())["version"]
    samples = list(iter_rows(tables / "sample.json"))
    files: dict[str, dict[str, str]] = {}
    for row in iter_rows(tables / "sample_data.json"):
        channel = row["filename"].split("/")[1]
        files.setdefault(row["sample_token"], {})[channel] = row["filename"]
    picks = np.linspace(0, len(samples) - 1, 2 * MOMENTS + 1).astype(int)[1::2]
    rows = []
    for pick in picks:
        for channels in LAYOUT:
            names = [files[samples[pick]["token"]][channel] for channel in channels]
            tiles = [
                cv2.resize(cv2.imread(str(root / name)), TILE, interpolation=cv2.INTER_AREA)
                for name in names
            ]
            rows.append(np.hstack(tiles))
    sheet = np.vstack(rows)
    with atomic(path, "wb") as file:
        file.write(cv2.imencode(path.suffix, sheet, [cv2.IMWRITE_JPEG_QUALITY, 88])[1])
