"""The schema of info files, the original's (docs/preprocessing.md lists every field), as a check.

Types, shapes, finite numbers, rotations that are some, tokens that differ. Whole columns are
checked at a time; only for the message the frame is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pftrack.errors import UserError
from pftrack.nuscenes.facts import FUTURE_FRAMES, MOST_CAMERAS
from pftrack.nuscenes.versions import SPLITS

# Numbers of a frame and of each of its cameras, with their shapes.
_FRAME_NUMBERS: dict[str, tuple[int, ...]] = {
    "lidar2ego_rotation": (4,),
    "lidar2ego_translation": (3,),
    "ego2global_rotation": (4,),
    "ego2global_translation": (3,),
    "timestamp": (),
}
_CAMERA_NUMBERS: dict[str, tuple[int, ...]] = {
    "sensor2ego_rotation": (4,),
    "sensor2ego_translation": (3,),
    "ego2global_rotation": (4,),
    "ego2global_translation": (3,),
    "sensor2lidar_rotation": (3, 3),
    "sensor2lidar_translation": (3,),
    "cam_intrinsic": (3, 3),
}
# Numbers of annotations, by row.
_ROW_NUMBERS: dict[str, tuple[int, ...]] = {
    "gt_boxes": (7,),
    "gt_velocity": (2,),
    "num_lidar_pts": (),
    "num_radar_pts": (),
    "valid_flag": (),
    "instance_inds": (),
    "forecasting_locs": (FUTURE_FRAMES, 3),
    "forecasting_masks": (FUTURE_FRAMES,),
}
ANNOTATION_KEYS = ("gt_boxes", "gt_names", "gt_velocity", "valid_flag", "instance_inds")
FORECASTING_KEYS = ("forecasting_locs", "forecasting_masks")
# Fields that neither training nor tracking reads; about half of an info.
UNREAD = ("sweeps", "radars", "forecasting_tokens")
_TOLERANCE = 1e-2  # of lengths and products that are one: files hold six digits or more
HOW_TO_MAKE = "make one with tools/create_data.py (make data; for generated data make demo)"


def check_content(path: Path, content: Any) -> tuple[list[Any], str]:
    """The list of infos and the version in what an info file holds.

    Raises:
        UserError: it is none.
    """
    if isinstance(content, Mapping) and "data_list" in content:
        raise UserError(
            f"info file {path} has the layout of mmdet3d >= 1.1 ('data_list'): {HOW_TO_MAKE}"
        )
    metadata = content.get("metadata") if isinstance(content, Mapping) else None
    infos = content.get("infos") if isinstance(content, Mapping) else None
    if not isinstance(metadata, Mapping) or not isinstance(infos, list) or not infos:
        raise UserError(
            f"{path} is not an info file (no 'infos' list and 'metadata'): {HOW_TO_MAKE}"
        )
    version = metadata.get("version")
    if version not in SPLITS:
        raise UserError(
            f"info file {path} is of the unknown version {version!r} (known: "
            f"{', '.join(SPLITS)}): {HOW_TO_MAKE}"
        )
    return infos, version


def check_infos(path: Path, infos: list[Any], require: Sequence[str]) -> None:
    """Check the infos of a file.

    Args:
        require: keys each info must have beyond those of a bare frame.

    Raises:
        UserError: something is wrong; names the info, the field, and what to do.
    """
    _Check(path, infos).everything(require)


class _Check:
    """Checks of the infos of one file; each raises a UserError that names the info."""

    def __init__(self, path: Path, infos: list[Any]) -> None:
        self.path, self.infos = path, infos
        self.rig: dict[str, None] = {}
        self.places: list[tuple[int, str]] = []  # of the rows of cameras: info, name

    def stop(self, number: int, what: str) -> UserError:
        return UserError(f"info file {self.path}, info {number}: {what}; {HOW_TO_MAKE}")

    def everything(self, require: Sequence[str]) -> None:
        for number, info in enumerate(self.infos):
            self._fields(number, info, require)
        frames = {name: self._frame_numbers(name) for name in _FRAME_NUMBERS}
        self.places = [(n, name) for n, info in enumerate(self.infos) for name in info["cams"]]
        cameras = {name: self._camera_numbers(name) for name in _CAMERA_NUMBERS}
        for name, values in frames.items():
            if name.endswith("_rotation"):
                self._unit(values, name, lambda row: row, lambda row: "")
        for name, values in cameras.items():
            if values.shape[1:] == (4,):
                self._unit(values, name, lambda row: self.places[row][0], self._of_camera)
        self._first(
            ~_are_rotations(cameras["sensor2lidar_rotation"]),
            "sensor2lidar_rotation",
            "no rotation",
        )
        k = cameras["cam_intrinsic"]
        bad = (k[:, 0, 0] <= 0) | (k[:, 1, 1] <= 0) | (k[:, 2] != (0, 0, 1)).any(axis=1)
        self._first(bad, "cam_intrinsic", "no camera matrix (fx, fy > 0, last row 0 0 1)")
        self._tokens()
        self._annotations()

    def _fields(self, number: int, info: Any, require: Sequence[str]) -> None:
        if not isinstance(info, dict):
            raise self.stop(number, "not a dict")
        for key in ("token", "cams", *_FRAME_NUMBERS, "scene_token", *require):
            if key not in info:
                detail = ""
                if key in (*ANNOTATION_KEYS, "forecasting_locs"):
                    detail = (
                        " (made by plain mmdet3d, without --forecasting, or of the test split?)"
                    )
                raise self.stop(number, f"'{key}' is missing{detail}")
        for key in ("token", "scene_token"):
            if not isinstance(info[key], str) or not info[key]:
                raise self.stop(number, f"'{key}' is no text but {info[key]!r:.40}")
        if not isinstance(info["cams"], dict) or not info["cams"]:
            raise self.stop(number, "'cams' is not a dict of cameras")
        self.rig |= dict.fromkeys(info["cams"])
        if len(self.rig) > MOST_CAMERAS:
            raise self.stop(
                number,
                f"more than {MOST_CAMERAS} cameras in the file ({[*self.rig][-1]!r:.40} too)",
            )
        for camera, cam in info["cams"].items():
            if not isinstance(camera, str) or not camera or not isinstance(cam, dict):
                raise self.stop(number, f"camera {camera!r:.40} is no dict by a name")
            for key in ("data_path", *_CAMERA_NUMBERS):
                if key not in cam:
                    raise self.stop(number, f"'{key}' of camera {camera} is missing")
            if (
                not isinstance(cam["data_path"], str)
                or cam["data_path"].strip() == ""
                or "\0" in cam["data_path"]
            ):
                raise self.stop(number, f"'data_path' of camera {camera} is no path")

    def _frame_numbers(self, name: str) -> np.ndarray:
        values = [info[name] for info in self.infos]
        return self._numbers(values, _FRAME_NUMBERS[name], name, lambda row: (row, ""))

    def _camera_numbers(self, name: str) -> np.ndarray:
        values = [self.infos[number]["cams"][camera][name] for number, camera in self.places]
        return self._numbers(
            values,
            _CAMERA_NUMBERS[name],
            name,
            lambda row: (self.places[row][0], self._of_camera(row)),
        )

    def _of_camera(self, row: int) -> str:
        return f" of camera {self.places[row][1]}"

    def _numbers(
        self,
        values: list[Any],
        shape: tuple[int, ...],
        name: str,
        where: Callable[[int], tuple[int, str]],
    ) -> np.ndarray:
        """[n, *shape] finite numbers; ``where`` tells the info and the place of a row."""
        column = _as_numbers(values)
        if column is None or column.shape != (len(values), *shape):
            for row, value in enumerate(values):
                number, place = where(row)
                single = _as_numbers(value)
                if single is None or single.shape != shape:
                    wanted = " x ".join(map(str, shape)) + " numbers" if shape else "a number"
                    raise self.stop(number, f"'{name}'{place} is not {wanted}")
            column = np.array([np.asarray(value, dtype=np.float64) for value in values])
        finite = np.isfinite(column.reshape(len(values), -1)).all(axis=1)
        if not finite.all():
            number, place = where(int(np.argmin(finite)))
            raise self.stop(number, f"'{name}'{place} is not finite")
        return column

    def _unit(
        self,
        values: np.ndarray,
        name: str,
        number: Callable[[int], int],
        place: Callable[[int], str],
    ) -> None:
        wrong = np.abs(np.linalg.norm(values, axis=1) - 1) > _TOLERANCE
        if wrong.any():
            row = int(np.argmax(wrong))
            raise self.stop(number(row), f"'{name}'{place(row)} is no unit quaternion")

    def _first(self, wrong: np.ndarray, name: str, what: str) -> None:
        """Stop at the first camera that is ``wrong``, in the order of ``places``."""
        if wrong.any():
            row = int(np.argmax(wrong))
            raise self.stop(self.places[row][0], f"'{name}'{self._of_camera(row)} is {what}")

    def _tokens(self) -> None:
        seen: set[str] = set()
        times: set[tuple[str, float]] = set()
        for number, info in enumerate(self.infos):
            if info["token"] in seen:
                raise self.stop(number, f"the token '{info['token']}' is there twice")
            seen.add(info["token"])
            time = (info["scene_token"], info["timestamp"])
            if time in times or not info["timestamp"] > 0:
                raise self.stop(
                    number, f"timestamp {info['timestamp']} is not positive, or there twice"
                )
            times.add(time)

    def _annotations(self) -> None:
        """Fields of annotations, where they are: rows of equal number, of their shapes."""
        for number, info in enumerate(self.infos):
            if "gt_boxes" not in info:
                continue
            lengths = {
                key: _length(info[key]) for key in ("gt_names", *_ROW_NUMBERS) if key in info
            }
            if len(set(lengths.values())) > 1 or None in lengths.values():
                raise self.stop(number, f"annotation fields differ in length ({lengths})")
            if not all(isinstance(name, str) for name in info.get("gt_names", ())):
                raise self.stop(number, "'gt_names' are not names")
        for key, shape in _ROW_NUMBERS.items():
            rows = [
                (number, info[key])
                for number, info in enumerate(self.infos)
                if "gt_boxes" in info and key in info and len(info[key])
            ]
            if rows:
                self._row_numbers(key, shape, rows)

    def _row_numbers(self, key: str, shape: tuple[int, ...], rows: list[tuple[int, Any]]) -> None:
        """One field of annotations; rows: (info, its [n, *shape]), n at least 1."""
        arrays = []
        for number, part in rows:
            array = _as_numbers(part)
            if array is None or array.shape[1:] != shape:
                size = " x ".join(map(str, shape)) + " numbers" if shape else "one number"
                raise self.stop(number, f"'{key}' has not {size} a row")
            arrays.append(array)
        flat = np.concatenate(arrays).astype(np.float64)
        flat = flat.reshape(len(flat), -1)
        # Velocities of objects that were seen once are unknown: NaN.
        wrong = (np.isinf(flat) if key == "gt_velocity" else ~np.isfinite(flat)).any(axis=1)
        what = "is not finite"
        if key == "gt_boxes" and not wrong.any():
            wrong, what = (flat[:, 3:6] <= 0).any(axis=1), "has a size that is not positive"
        elif key == "instance_inds" and not wrong.any():
            wrong, what = (flat[:, 0] < 0) | (flat[:, 0] % 1 != 0), "is no instance number"
        if wrong.any():
            ends = np.cumsum([len(array) for array in arrays])
            at = int(np.searchsorted(ends, int(np.argmax(wrong)), side="right"))
            raise self.stop(rows[at][0], f"'{key}' {what}")


def _as_numbers(value: Any) -> np.ndarray | None:
    """An array of numbers (or truth values), or None."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return array if array.dtype.kind in "fiub" else None


def _length(value: Any) -> int | None:
    """Rows of an array or a list."""
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim):
        return len(value)
    return None


def _are_rotations(matrices: np.ndarray) -> np.ndarray:
    """[n] of matrices [n, 3, 3]."""
    product = matrices @ matrices.transpose(0, 2, 1)
    right = np.abs(product - np.eye(3)).max(axis=(1, 2)) < _TOLERANCE
    return right & (np.linalg.det(matrices) > 0)
