"""Results files in the nuScenes submission format: read sample by sample, checked here, once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from pftrack.errors import UserError
from pftrack.nuscenes.facts import CLASSES
from pftrack.nuscenes.json_stream import JsonReader

_UNIT = 1e-2  # by how much the length of a quaternion may differ from one
Metres = Annotated[float, msgspec.Meta(ge=-1e7, le=1e7)]
Length = Annotated[float, msgspec.Meta(gt=0, le=1e4)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Component = Annotated[float, msgspec.Meta(ge=-1.1, le=1.1)]


class ResultBox(msgspec.Struct, frozen=True):
    """What is read of a box, of a tracker's or a detector's results; more may be in it."""

    translation: tuple[Metres, Metres, Metres]
    size: tuple[Length, Length, Length]
    rotation: tuple[Component, Component, Component, Component]
    velocity: tuple[float, float] = (math.nan, math.nan)
    sample_token: str | None = None
    tracking_name: str | None = None
    tracking_score: Share | None = None
    tracking_id: str | int | None = None
    detection_name: str | None = None
    detection_score: Share | None = None
    forecasting: list[tuple[Metres, Metres]] | None = None
    num_pts: Annotated[int, msgspec.Meta(ge=-1, le=10**9)] = -1


_Boxes = list[ResultBox]
_WANTED = {
    "translation": "3 finite numbers",
    "size": "3 finite numbers above 0",
    "rotation": "4 finite numbers, a unit quaternion",
    "velocity": "2 numbers",
    "tracking_score": "a finite number from 0 to 1",
    "detection_score": "a finite number from 0 to 1",
    "tracking_id": "a string",
    "forecasting": "a list of finite (x, y) steps",
}


def read_results(
    path: str | Path, others: dict[str, Any] | None = None
) -> Iterator[tuple[str, Any]]:
    """The samples of a results file one by one, in its order: (sample token, list of boxes).

    Each box is as the file has it, and as :class:`ResultBox` says: finite numbers, positive sizes,
    unit quaternions, scores from 0 to 1, classes of nuScenes; unknown velocities are NaN.

    Args:
        others: receives the file's other entries (``meta``) by name.

    Raises:
        UserError: not readable, not JSON, without ``results`` by sample token, or a box with a
            wrong value, which is named.
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
                boxes = reader.value()
                _check(path, token, boxes)
                yield token, boxes
        reader.end()
    if not found:
        raise UserError(f"{path}: no 'results' in this results file")


def is_detection_file(path: str | Path) -> bool:
    """True for a detection submission: its first box has a ``detection_name``.

    Raises:
        UserError: see :func:`read_results`.
    """
    for _token, boxes in read_results(path):
        if boxes:
            return "detection_name" in boxes[0]
    return False


def _check(path: str | Path, token: str, boxes: Any) -> None:
    if not isinstance(boxes, list):
        raise UserError(f"{path}: sample '{token}' holds no list of boxes")
    try:
        rows = msgspec.convert(boxes, _Boxes)
    except msgspec.ValidationError as error:
        raise UserError(_message(path, token, boxes, str(error))) from None
    for i, row in enumerate(rows):
        w, x, y, z = row.rotation
        what = None
        if abs(math.sqrt(w * w + x * x + y * y + z * z) - 1) > _UNIT:
            what = f"rotation must be a unit quaternion, not {list(row.rotation)}"
        elif math.inf in map(abs, row.velocity):
            what = f"velocity must be 2 numbers, not {list(row.velocity)}"
        elif row.sample_token is not None and row.sample_token != token:
            what = f"it names another sample_token, '{row.sample_token}'"
        elif None in boxes[i].values() and (empty := sorted(_without_value(boxes[i]))):
            what = f"{empty[0]} must be {_WANTED[empty[0]]}, not None"
        elif row.tracking_name is None and row.detection_name is None:
            what = "neither a tracking_name nor a detection_name"
        elif (row.tracking_name or row.detection_name) not in CLASSES:
            kind = "tracking_name" if row.tracking_name else "detection_name"
            what = f"unknown {kind} {row.tracking_name or row.detection_name!r}"
        elif row.tracking_name is not None and row.tracking_id is None:
            what = "a tracking_name, but no tracking_id"
        elif (row.tracking_score if row.tracking_name else row.detection_score) is None:
            what = f"no {'tracking' if row.tracking_name else 'detection'}_score"
        if what is not None:
            raise UserError(f"{path}: box {i} of sample '{token}': {what}")


def _without_value(box: dict[str, Any]) -> set[str]:
    return {name for name, value in box.items() if value is None and name in _WANTED}


def _message(path: str | Path, token: str, boxes: list[Any], reason: str) -> str:
    """The library's reason, with the place as people say it and the value."""
    place = re.search(r" - at `\$\[(\d+)\](?:\.(\w+))?.*`$", reason)
    if place is None:
        return f"{path}: sample '{token}': {reason}"
    box, field = boxes[int(place[1])], place[2]
    where = f"{path}: box {place[1]} of sample '{token}'"
    wanted = reason[: place.start()].replace("`", "")
    if field is None or not isinstance(box, dict):
        return f"{where}: {wanted}"
    return f"{where}: {field} must be {_WANTED.get(field, wanted)}, not {box.get(field)!r:.80}"
