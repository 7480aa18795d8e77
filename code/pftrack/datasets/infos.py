"""Info files: read without running their code, checked once (info_schema.py), in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pftrack import geometry
from pftrack.datasets.info_schema import HOW_TO_MAKE, UNREAD, check_content, check_infos
from pftrack.errors import UserError
from pftrack.nuscenes.facts import rig_order
from pftrack.paths import portable
from pftrack.pickles import SafeUnpickler, bounded_memory, settle

Info = dict[str, Any]


@dataclass
class InfoFile:
    """The key frames of one split.

    Attributes:
        infos: without what nothing reads (sweeps, radars); frames of a scene are neighbours, in
            order of time; scenes in order of their start. Each has all cameras of the rig, in its
            order; one that the file does not have in a frame has the empty ``data_path``.
        version: nuScenes version they were made from, one of :data:`SPLITS`.
    """

    infos: list[Info]
    version: str

    def __len__(self) -> int:
        return len(self.infos)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the rig's cameras, in the order of the network."""
        return tuple(self.infos[0]["cams"])

    @property
    def dropouts(self) -> dict[str, int]:
        """Frames without an image, of the cameras that have such."""
        empty = Counter(
            name
            for info in self.infos
            for name, cam in info["cams"].items()
            if not cam["data_path"]
        )
        return dict(empty)

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
            (ANNOTATION_KEYS, FORECASTING_KEYS of info_schema.py).

    Raises:
        UserError: no such file, not a pickle, not an info file, of another version or schema, or
            one that refers to code.
    """
    path = portable(path)
    content = read_pickle(path, UNREAD)
    infos, found = check_content(path, content)
    if version is not None and found != version:
        raise UserError(
            f"info file {path} was made from nuScenes {found}, but {version} is asked for: give "
            f"the info file of {version}, or {HOW_TO_MAKE}"
        )
    check_infos(path, infos, require)
    infos = in_scene_order(infos)
    complete_rig(infos, rig_of(infos))
    return InfoFile(infos, found)


def rig_of(infos: Sequence[Info]) -> tuple[str, ...]:
    """The cameras that infos have, in the order of the network."""
    return rig_order(name for info in infos for name in info["cams"])


def complete_rig(infos: Sequence[Info], rig: Sequence[str]) -> None:
    """Give every info all cameras of the rig, in its order.

    A camera that an info lacks gets the calibration of the nearest info that has it, the ego pose
    of the key frame, and no image.
    """
    lacking = {name for name in rig for info in infos if name not in info["cams"]}
    stand_in: dict[str, dict[int, int]] = {}
    for name in lacking:
        there = np.array([i for i, info in enumerate(infos) if name in info["cams"]])
        gaps = [i for i, info in enumerate(infos) if name not in info["cams"]]
        stand_in[name] = {i: int(there[np.abs(there - i).argmin()]) for i in gaps}
    for number, info in enumerate(infos):
        cams = dict(info["cams"])
        for name in lacking - set(cams):
            cams[name] = _without_image(info, infos[stand_in[name][number]]["cams"][name])
        info["cams"] = {name: cams[name] for name in rig}


def _without_image(info: Info, like: Mapping[str, Any]) -> dict[str, Any]:
    """A camera of ``info`` that is mounted ``like`` another frame's."""
    sensor2ego, lidar2ego = (
        geometry.pose_matrix(x[f"{name}_rotation"], x[f"{name}_translation"])
        for x, name in ((like, "sensor2ego"), (info, "lidar2ego"))
    )
    sensor2lidar = geometry.invert_pose(lidar2ego) @ sensor2ego
    return {
        "data_path": "",
        "cam_intrinsic": like["cam_intrinsic"],
        "sensor2ego_rotation": like["sensor2ego_rotation"],
        "sensor2ego_translation": like["sensor2ego_translation"],
        "ego2global_rotation": info["ego2global_rotation"],
        "ego2global_translation": info["ego2global_translation"],
        "sensor2lidar_rotation": sensor2lidar[:3, :3],
        "sensor2lidar_translation": sensor2lidar[:3, 3],
    }


def read_pickle(path: Path, without: Sequence[str] = ()) -> Any:
    """The plain values and arrays of an info file; its contents are not checked.

    Args:
        without: fields of infos that are left out.

    Raises:
        UserError: no such file, not a pickle, or one that refers to code.
    """
    try:
        with path.open("rb") as file, bounded_memory(path.stat().st_size):
            content = SafeUnpickler(file).load()
            infos = content.get("infos") if isinstance(content, dict) else None
            for info in infos if without and isinstance(infos, list) else ():
                for key in without if isinstance(info, dict) else ():
                    info.pop(key, None)
            return settle(content)
    except FileNotFoundError:
        raise UserError(f"no info file {path}: {HOW_TO_MAKE}") from None
    except OSError as error:
        raise UserError(f"cannot read info file {path}: {error.strerror}") from None
    except Exception as error:  # a hostile or torn pickle can raise nearly anything
        raise UserError(
            f"{path} is not an info file that can be trusted ({_one_line(error)}): nothing of it "
            f"was used; {HOW_TO_MAKE}"
        ) from None


def _one_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def in_scene_order(infos: list[Info]) -> list[Info]:
    """By time, with the frames of a scene kept together.

    Drives of two cars may overlap in time; in every other case this is plain order of time.
    """
    start: dict[str, int] = {}
    for info in infos:
        scene, time = info["scene_token"], info["timestamp"]
        start[scene] = min(time, start.get(scene, time))
    return sorted(infos, key=lambda i: (start[i["scene_token"]], i["scene_token"], i["timestamp"]))
