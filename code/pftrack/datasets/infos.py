"""Info files: what a pickle of infos may contain, and how it is read without running its code.

The schema is the original's (docs/preprocessing.md lists every field). A pickle can name any
function of any module, so files are read by an unpickler that knows plain values and numpy arrays
and refuses the rest.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pftrack.errors import UserError
from pftrack.nuscenes.facts import CAMERAS
from pftrack.nuscenes.versions import SPLITS

Info = dict[str, Any]

# What numpy's pickles of arrays, scalars and dtypes refer to, under the names of numpy 1 and 2 and
# of pickle protocols 2 to 5.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    ),
}

_FRAME_KEYS = (
    "token",
    "cams",
    "lidar2ego_rotation",
    "lidar2ego_translation",
    "ego2global_rotation",
    "ego2global_translation",
    "timestamp",
    "scene_token",
)
_CAMERA_KEYS = (
    "data_path",
    "sensor2ego_rotation",
    "sensor2ego_translation",
    "ego2global_rotation",
    "ego2global_translation",
    "sensor2lidar_rotation",
    "sensor2lidar_translation",
    "cam_intrinsic",
)
ANNOTATION_KEYS = ("gt_boxes", "gt_names", "gt_velocity", "valid_flag", "instance_inds")
FORECASTING_KEYS = ("forecasting_locs", "forecasting_masks")
_HOW_TO_MAKE = "make one with tools/create_data.py (make data; for generated data make demo)"


class RestrictedUnpickler(pickle.Unpickler):
    """Loads plain values and numpy arrays; any other global ends the load before it is imported."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it refers to '{module}.{name}'")
        if module.startswith(("numpy._core", "numpy.core")):
            # Whichever numpy wrote it, take the one that is here.
            here = "numpy.core" if np.__version__.startswith("1.") else "numpy._core"
            module = here + module[module.index("core") + len("core") :]
        return super().find_class(module, name)


@dataclass
class InfoFile:
    """The key frames of one split.

    Attributes:
        infos: frames of a scene are neighbours, in order of time; scenes in order of their start.
        version: nuScenes version they were made from, one of :data:`SPLITS`.
    """

    infos: list[Info]
    version: str

    def __len__(self) -> int:
        return len(self.infos)

    @cached_property
    def scenes(self) -> dict[str, range]:
        """Indices of each scene's frames, by scene token."""
        starts: dict[str, int] = {}
        for index, info in enumerate(self.infos):
            starts.setdefault(info["scene_token"], index)
        ends = [*list(starts.values())[1:], len(self.infos)]
        return {token: range(a, b) for (token, a), b in zip(starts.items(), ends, strict=True)}


def load_infos(
    path: str | Path,
    version: str | None = None,
    require: Sequence[str] = (),
) -> InfoFile:
    """Read an info file.

    Args:
        path: pickle of ``{"infos": [...], "metadata": {"version": ...}}``.
        version: the nuScenes version it must have been made from; None: any known one.
        require: keys each info must have beyond those of a bare frame
            (:data:`ANNOTATION_KEYS`, :data:`FORECASTING_KEYS`).

    Raises:
        UserError: no such file, not a pickle, not an info file, of another version or schema, or
            one that refers to code.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = RestrictedUnpickler(file).load()
    except FileNotFoundError:
        raise UserError(f"no info file {path}: {_HOW_TO_MAKE}") from None
    except OSError as error:
        raise UserError(f"cannot read info file {path}: {error.strerror}") from None
    except Exception as error:  # a hostile or torn pickle can raise nearly anything
        raise UserError(
            f"{path} is not an info file that can be trusted ({_one_line(error)}): nothing of it "
            f"was used; {_HOW_TO_MAKE}"
        ) from None
    infos, found = _check_content(path, content)
    if version is not None and found != version:
        raise UserError(
            f"info file {path} was made from nuScenes {found}, but {version} is asked for: give "
            f"the info file of {version}, or {_HOW_TO_MAKE}"
        )
    for number, info in enumerate(infos):
        _check_info(path, number, info, require)
    return InfoFile(_in_scene_order(infos), found)


def _one_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _check_content(path: Path, content: Any) -> tuple[list[Any], str]:
    if isinstance(content, Mapping) and "data_list" in content:
        raise UserError(
            f"info file {path} has the layout of mmdet3d >= 1.1 ('data_list'): {_HOW_TO_MAKE}"
        )
    metadata = content.get("metadata") if isinstance(content, Mapping) else None
    infos = content.get("infos") if isinstance(content, Mapping) else None
    if not isinstance(metadata, Mapping) or not isinstance(infos, list) or not infos:
        raise UserError(
            f"{path} is not an info file (no 'infos' list and 'metadata'): {_HOW_TO_MAKE}"
        )
    version = metadata.get("version")
    if version not in SPLITS:
        raise UserError(
            f"info file {path} is of the unknown version {version!r} (known: "
            f"{', '.join(SPLITS)}): {_HOW_TO_MAKE}"
        )
    return infos, version


def _check_info(path: Path, number: int, info: Any, require: Sequence[str]) -> None:
    def stop(what: str) -> UserError:
        return UserError(f"info file {path}, info {number}: {what}; {_HOW_TO_MAKE}")

    if not isinstance(info, Mapping):
        raise stop("not a dict")
    for key in (*_FRAME_KEYS, *require):
        if key not in info:
            detail = ""
            if key in (*ANNOTATION_KEYS, "forecasting_locs"):
                detail = " (made by plain mmdet3d, without --forecasting, or of the test split?)"
            raise stop(f"'{key}' is missing{detail}")
    for camera in CAMERAS:
        if camera not in info["cams"]:
            raise stop(f"camera {camera} is missing")
        missing = [key for key in _CAMERA_KEYS if key not in info["cams"][camera]]
        if missing:
            raise stop(f"'{missing[0]}' of camera {camera} is missing")
    lengths = {key: len(info[key]) for key in require}
    if len(set(lengths.values())) > 1:
        raise stop(f"annotation fields differ in length ({lengths})")


def _in_scene_order(infos: list[Info]) -> list[Info]:
    """By time, with the frames of a scene kept together.

    Drives of two cars may overlap in time; in every other case this is plain order of time.
    """
    start: dict[str, int] = {}
    for info in infos:
        scene, time = info["scene_token"], info["timestamp"]
        start[scene] = min(time, start.get(scene, time))
    return sorted(infos, key=lambda i: (start[i["scene_token"]], i["scene_token"], i["timestamp"]))
