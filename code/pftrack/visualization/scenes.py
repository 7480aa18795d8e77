"""Scenes to draw: key frames from an info file, boxes from a results file or the ground truth."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pftrack import geometry
from pftrack.boxes import Boxes
from pftrack.datasets import splits
from pftrack.datasets.frames import info_to_frame, resolve_path
from pftrack.datasets.infos import Info, InfoFile, load_infos
from pftrack.errors import UserError
from pftrack.nuscenes.facts import FORECAST_STEPS, TRACKING_CLASSES
from pftrack.nuscenes.results_file import read_results
from pftrack.nuscenes.splits import names_of_scenes
from pftrack.nuscenes.versions import SPLITS, info_file_name
from pftrack.structures import Frame
from pftrack.visualization.mosaic import read_lidar


@dataclass
class SceneFrames:
    """The key frames of one scene.

    Attributes:
        name: scene name.  infos: its infos in order of time.  data_root: the dataset's folder.
    """

    name: str
    infos: list[Info]
    data_root: Path

    def __len__(self) -> int:
        return len(self.infos)

    @property
    def tokens(self) -> list[str]:
        return [info["token"] for info in self.infos]

    def frame(self, t: int) -> Frame:
        return info_to_frame(self.infos[t], self.data_root)

    def frames(self) -> Iterator[Frame]:
        return (self.frame(t) for t in range(len(self)))

    def lidar(self, t: int) -> np.ndarray | None:
        """Points [n, 5] in the lidar frame; None where the file is missing."""
        path = resolve_path(self.infos[t].get("lidar_path", ""), self.data_root)
        return read_lidar(path) if path.is_file() else None

    def truth(self, t: int) -> Boxes:
        """Annotations of the tracking classes with at least one lidar or radar point."""
        return ground_truth(self.infos[t])


def ground_truth(info: Info) -> Boxes:
    """The annotations of an info as boxes in the global frame."""
    if "gt_boxes" not in info:
        return Boxes.from_rows([])
    names = np.asarray(info["gt_names"])
    keep = np.asarray(info["valid_flag"], dtype=bool) & np.isin(names, TRACKING_CLASSES)
    boxes = np.concatenate([info["gt_boxes"], info["gt_velocity"]], axis=1)[keep]
    lidar2ego = geometry.pose_matrix(info["lidar2ego_rotation"], info["lidar2ego_translation"])
    ego2global = geometry.pose_matrix(info["ego2global_rotation"], info["ego2global_translation"])
    center, size, rotation, velocity = geometry.legacy_boxes_to_global(boxes, lidar2ego, ego2global)
    forecast: list[np.ndarray | None] = [None] * len(boxes)
    if "forecasting_locs" in info:
        locs = geometry.transform_points(
            np.asarray(info["forecasting_locs"], float)[keep], ego2global @ lidar2ego
        )
        forecast = list(np.diff(locs[..., :2], axis=1)[:, :FORECAST_STEPS])
    return Boxes(
        ids=[str(i) for i in np.asarray(info["instance_inds"])[keep]],
        names=[str(name) for name in names[keep]],
        scores=np.ones(len(boxes)),
        center=center,
        size=size,
        rotation=rotation,
        velocity=velocity[:, :2],
        forecast=forecast,
    )


def find_infos(data_root: Path, version: str, split: str) -> Path:
    """The info file of an official split: in the dataset's folder or beside it.

    Raises:
        UserError: there is none.
    """
    name = info_file_name(version, split)
    for folder in (data_root, data_root.parent):
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f"no info file {name} in '{data_root}' or beside it: make one with 'make data', or name "
        "it with --infos"
    )


def load_scenes(infos: InfoFile, data_root: Path, only: Collection[str] = ()) -> list[SceneFrames]:
    """The scenes of an info file, all or by name (or token).

    Raises:
        UserError: a name is not among them.
    """
    names = names_of_scenes(data_root, infos.version)
    scenes = [
        SceneFrames(names.get(token, token), [infos.infos[i] for i in frames], data_root)
        for token, frames in infos.scenes.items()
    ]
    known = {scene.name for scene in scenes} | set(infos.scenes)
    for name in only:
        if name not in known:
            some = ", ".join(scene.name for scene in scenes[:8])
            raise UserError(f"no scene '{name}' in this split; there are {some}...")
    tokens = list(infos.scenes)
    return [s for s, t in zip(scenes, tokens, strict=True) if not only or {s.name, t} & set(only)]


def load_split(
    data_root: Path, version: str, split: str = "val", only: Collection[str] = ()
) -> list[SceneFrames]:
    """The scenes of a split, by the info files in or beside the dataset's folder.

    Raises:
        UserError: no dataset, no info file, no such split or scene.
    """
    if split in SPLITS.get(version, ()):
        infos = load_infos(find_infos(data_root, version, split))
    else:
        infos = splits.load_split(find_infos(data_root, version, "val"), split, data_root)
    return load_scenes(infos, data_root, only)


def boxes_of_samples(path: Path, tokens: Collection[str]) -> dict[str, Boxes]:
    """The boxes of some samples of a results file, read as a stream.

    Raises:
        UserError: not a results file, or none of the samples is in it.
    """
    found = {
        token: Boxes.from_rows(boxes) for token, boxes in read_results(path) if token in tokens
    }
    if not found:
        raise UserError(
            f"{path}: has none of the {len(tokens)} samples asked for; is it of another split or "
            "dataset? See --dataroot, --version, --split"
        )
    return found
