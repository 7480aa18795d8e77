"""Results files in the nuScenes submission format, read sample by sample."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pftrack.errors import UserError
from pftrack.nuscenes.json_stream import JsonReader


def read_results(
    path: str | Path, others: dict[str, Any] | None = None
) -> Iterator[tuple[str, Any]]:
    """The samples of a results file one by one, in its order: (sample token, list of boxes).

    What a sample holds is not checked here.

    Args:
        others: receives the file's other entries (``meta``) by name.

    Raises:
        UserError: not readable, not JSON, or without ``results`` by sample token.
    """
    found = False
    with JsonReader(path) as reader:
        if not reader.at_object():
            raise UserError(f"{path}: not a results file, the top level must be an object")
        for key in reader.keys():  # noqa: SIM118, a method of the reader
            if key != "results":
                value = reader.value()
                if others is not None:
                    others[key] = value
                continue
            found = True
            if not reader.at_object():
                raise UserError(f"{path}: 'results' must map sample tokens to lists of boxes")
            for token in reader.keys():  # noqa: SIM118
                yield token, reader.value()
        reader.end()
    if not found:
        raise UserError(f"{path}: no 'results' in this results file")


def is_detection_file(path: str | Path) -> bool:
    """True for a detection submission: its first box has a ``detection_name``.

    Raises:
        UserError: see :func:`read_results`.
    """
    for _token, boxes in read_results(path):
        if isinstance(boxes, list) and boxes:
            return isinstance(boxes[0], dict) and "detection_name" in boxes[0]
    return False
