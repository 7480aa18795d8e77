"""Writes a whole generated dataset: plans the scenes, records them, writes the tables."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from laboratory.demo_data.rig import CAMERA_NAMES
from laboratory.demo_data.scene import (
    FrameRecord,
    ScenePlan,
    SceneRecorder,
    plan_scene,
)
from laboratory.demo_data.tables import fixed_tables, scene_tables, token
from laboratory.demo_data.town import Town
from pftrack.errors import UserError
from pftrack.files import atomic
from pftrack.nuscenes.facts import LIDAR
from pftrack.nuscenes.table_files import Table, write_tables
from pftrack.nuscenes.versions import MINI, TRAINVAL
from pftrack.processes import end_with_parent

MARKER = "demo_data.json"
GENERATOR_VERSION = 2  # raise it when the same request gives other bytes
VERSIONS = (MINI, TRAINVAL)
# splits mini_train and mini_val of nuScenes
MINI_TRAIN = tuple(f"scene-{n:04d}" for n in (61, 553, 655, 757, 796, 1077, 1094, 1100))
MINI_VAL = ("scene-0103", "scene-0916")
VAL_SHARE = 0.2


@dataclass
class Request:
    """What decides the bytes of a dataset."""

    version: str
    scenes: int
    frames: int
    image_size: tuple[int, int]
    seed: int
    visibility: float | None = None
    cameras: tuple[str, ...] | None = None

    def check(self) -> None:
        """Raises:
        UserError: a value that no dataset can be made with.
        """
        if self.version not in VERSIONS:
            raise UserError(f"version is {self.version!r}: use one of {', '.join(VERSIONS)}")
        if self.scenes < 1 or self.frames < 1:
            raise UserError(f"{self.scenes} scenes of {self.frames} frames: use 1 or more of each")
        if min(self.image_size) < 32 or max(self.image_size) > 4096:
            width, height = self.image_size
            raise UserError(f"image size is {width}x{height}: use 32 to 4096 pixels a side")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}: use 0 or more")
        if self.visibility is not None and not 5 <= self.visibility <= 500:
            raise UserError(f"visibility is {self.visibility:g} m: use 5 to 500")

    def as_json(self) -> dict[str, Any]:
        stated = {name: value for name, value in asdict(self).items() if value is not None}
        return {"generator_version": GENERATOR_VERSION, **stated}


def scene_names(version: str, count: int) -> list[str]:
    """Official scene names, training scenes first, about one in five for validation.

    A single scene is a validation scene: it can be looked at and evaluated.

    Raises:
        UserError: the version has fewer scenes.
    """
    train, val = list(MINI_TRAIN), list(MINI_VAL)
    if version == TRAINVAL:
        from nuscenes.utils.splits import create_splits_scenes  # slow: imports matplotlib

        official = create_splits_scenes()
        train, val = sorted(official["train"]), sorted(official["val"])
    if count > len(train) + len(val):
        raise UserError(f"{version} has {len(train) + len(val)} scenes, {count} asked for")
    num_val = min(max(round(count * VAL_SHARE), 1, count - len(train)), len(val))
    return train[: count - num_val] + val[:num_val]


def generate_dataset(
    out: Path | str,
    scenes: int = 2,
    frames: int = 6,
    image_size: tuple[int, int] = (400, 225),
    seed: int = 0,
    workers: int = 1,
    version: str | None = None,
    progress: bool = False,
    visibility: float | None = None,
    cameras: tuple[str, ...] | None = None,
) -> bool:
    """Write a nuScenes dataset that the devkit loads and evaluates.

    The same arguments give the same bytes, whatever ``workers`` is. The dataset is built in
    ``.<name>.partial`` next to ``out`` and renamed; an interrupted run goes on from there.

    Args:
        out: dataset root; must be missing, empty, or hold the very dataset asked for.
        scenes: training scenes and about one in five for validation.
        frames: key frames (0.5 s apart) in each.
        image_size: (width, height) px.
        workers: processes; above 1 the calling script needs an ``if __name__ == "__main__"``.
        version: v1.0-mini or v1.0-trainval; None: mini up to its 10 scenes, else trainval.
        progress: show a progress bar.
        visibility: metres one can see, and the lidar reaches, in fog; None: a clear day.
        cameras: names of the rig's (:mod:`rig`); None: nuScenes' six.

    Returns:
        True when written, False when it was complete already.

    Raises:
        UserError: ``out`` holds something else, or a value is out of range.
    """
    out = Path(out)
    if version is None:
        version = VERSIONS[scenes > len(MINI_TRAIN) + len(MINI_VAL)]
    request = Request(version, scenes, frames, (image_size[0], image_size[1]), seed, visibility)
    request.cameras = cameras
    request.check()
    names = scene_names(version, scenes)
    if _is_complete(out, request):
        return False
    partial = _prepare(out, request)
    planning = tqdm(names, "planning", unit="scene", leave=False, disable=not progress)
    plans = [
        plan_scene(i, n, frames, request.image_size, seed, visibility, cameras or CAMERA_NAMES)
        for i, n in enumerate(planning)
    ]
    tasks = [(i, frame) for i in range(len(plans)) for frame in range(frames)]
    records: list[list[FrameRecord]] = [[] for _ in plans]
    try:
        recorded = _record(plans, partial, workers, tasks)
        bar = tqdm(recorded, "demo data", len(tasks), unit="frame", disable=not progress)
        for (index, _), record in zip(tasks, bar, strict=True):
            records[index].append(record)
        _write_tables(partial, request, plans, records)
        shutil.rmtree(partial / ".records")
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}; the same command goes on") from None
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed (memory?): the same command goes on, use fewer --workers"
        ) from None
    if out.is_dir():
        out.rmdir()
    os.replace(partial, out)
    return True


def _is_complete(out: Path, request: Request) -> bool:
    """Whether ``out`` holds the dataset; UserError when it holds anything else."""
    if not out.exists():
        return False
    if not out.is_dir():
        raise UserError(f"{out} is a file: name a folder for the generated dataset")
    if not any(out.iterdir()):
        return False
    try:
        found = json.loads((out / MARKER).read_text())
    except (OSError, ValueError):
        raise UserError(
            f"{out} is not empty: name a new folder for the generated dataset"
        ) from None
    if found != json.loads(json.dumps(request.as_json())):
        raise UserError(
            f"{out} holds a dataset generated with other settings ({MARKER} there lists them): "
            "remove it or name a new folder"
        )
    return True


def _prepare(out: Path, request: Request) -> Path:
    """The folder under construction: what an interrupted run of the same request left, or new."""
    partial = out.absolute().with_name(f".{out.absolute().name}.partial")
    wanted = json.dumps(request.as_json())
    note = partial / ".records" / "request.json"
    if partial.exists() and not (note.is_file() and note.read_text() == wanted):
        shutil.rmtree(partial)
    try:
        for channel in (*(request.cameras or CAMERA_NAMES), LIDAR):
            (partial / "samples" / channel).mkdir(parents=True, exist_ok=True)
        (partial / ".records").mkdir(exist_ok=True)
        note.write_text(wanted)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}") from None
    return partial


class _Worker:
    """Records key frames in one process; keeps the recorder of the scene it is in."""

    def __init__(self, plans: list[ScenePlan], folder: Path) -> None:
        self.plans, self.folder = plans, folder
        self.town = Town(plans[0].seed)
        self.recorder: SceneRecorder | None = None

    def __call__(self, task: tuple[int, int]) -> FrameRecord:
        index, frame = task
        note = self.folder / ".records" / f"{index}_{frame}.npy"
        if note.is_file():
            return FrameRecord(*np.load(note))
        if self.recorder is None or self.recorder.plan is not self.plans[index]:
            self.recorder = SceneRecorder(self.plans[index], self.town)
        record = self.recorder.record(frame, self.folder)
        with atomic(note, "wb") as file:
            np.save(file, np.stack([np.asarray(v, np.int64) for v in vars(record).values()]))
        return record


_worker: _Worker | None = None


def _start_worker(plans: list[ScenePlan], folder: Path) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    end_with_parent()
    cv2.setNumThreads(1)
    _worker = _Worker(plans, folder)


def _work(task: tuple[int, int]) -> FrameRecord:
    assert _worker is not None
    return _worker(task)


def _record(
    plans: list[ScenePlan], folder: Path, workers: int, tasks: list[tuple[int, int]]
) -> Iterator[FrameRecord]:
    """The records of (scene, frame) tasks, in order; their files are written on the way."""
    if workers <= 1:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield from map(_Worker(plans, folder), tasks)
        finally:
            cv2.setNumThreads(threads)
        return
    # spawn: the caller may hold threads (torch, OpenCV), which a fork would break
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (plans, folder))
    try:
        yield from pool.map(_work, tasks, chunksize=5)
    finally:
        pool.shutdown(cancel_futures=True)


def _write_tables(
    folder: Path, request: Request, plans: list[ScenePlan], records: list[list[FrameRecord]]
) -> None:
    """Tables, map mask and, last, the marker."""
    tables: dict[str, Table] = fixed_tables(request.cameras or CAMERA_NAMES)
    for plan, scene_records in zip(plans, records, strict=True):
        for name, rows in scene_tables(plan, scene_records).items():
            tables.setdefault(name, []).extend(rows)
    mask = f"maps/{token(request.seed, 'map')}.png"
    tables["map"] = [
        {
            "token": token(request.seed, "map"),
            "log_tokens": [row["token"] for row in tables["log"]],
            "category": "semantic_prior",
            "filename": mask,
        }
    ]
    (folder / "maps").mkdir(exist_ok=True)
    encoded = cv2.imencode(".png", Town(request.seed).map_mask)[1]
    (folder / mask).write_bytes(encoded.tobytes())
    write_tables(folder / request.version, [tables], indent=0)
    (folder / MARKER).write_text(json.dumps(request.as_json(), indent=2) + "\n")
