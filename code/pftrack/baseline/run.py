"""From a results file's boxes to tracks by detection, as another results file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from pftrack.baseline import METHODS
from pftrack.baseline.greedy import GreedyTracker
from pftrack.baseline.kalman import KalmanTracker
from pftrack.boxes import Boxes
from pftrack.errors import UserError
from pftrack.evaluation.config import load_tracking_config
from pftrack.evaluation.files import write_all
from pftrack.evaluation.ground_truth import GroundTruth
from pftrack.evaluation.run import Evaluation, evaluate_results
from pftrack.evaluation.tables import FrameTable
from pftrack.nuscenes.facts import TRACKING_CLASSES
from pftrack.nuscenes.format_results import tracking_results
from pftrack.nuscenes.results_file import read_results
from pftrack.tracking.scene_results import SceneResult, write_results


class ClassTracker(Protocol):
    """Links the boxes of one class through one scene."""

    def step(self, boxes: Boxes, time: float) -> tuple[Boxes, np.ndarray]:
        """The boxes that are kept, and [n] the numbers of their tracks."""


_TRACKERS: dict[str, Callable[[str], ClassTracker]] = dict(
    zip(METHODS, (GreedyTracker, KalmanTracker), strict=True)
)


def read_detections(
    path: str | Path, frames: FrameTable, others: Collection[str] = ()
) -> dict[int, Boxes]:
    """Boxes of the tracking classes by row of the frame table, without identities or forecasts.

    Args:
        path: detections, or a tracker's results, whose identities are left out.
        others: sample tokens that are passed over.

    Raises:
        UserError: see :func:`read_results`; or a sample that ``frames`` does not have, or a part of
            a scene.
    """
    row_of = frames.index()
    found: dict[int, Boxes] = {}
    for token, rows in read_results(path):
        if token in others:
            continue
        frame = row_of.get(token)
        if frame is None:
            raise UserError(f"{path}: sample '{token}' is not in the evaluated split")
        boxes = Boxes.from_rows(
            [
                {name: value for name, value in row.items() if name != "forecasting"}
                for row in rows
                if row.get("tracking_name", row.get("detection_name")) in TRACKING_CLASSES
            ]
        )
        found[frame] = boxes
    here = np.isin(np.arange(len(frames)), list(found))
    missing = np.flatnonzero(~here & np.isin(frames.scene, frames.scene[here]))
    if len(missing):
        token = frames.sample_tokens[missing[0]]
        raise UserError(
            f"{path}: {len(missing)} samples of its scenes are missing, the first is '{token}' "
            "(a sample without boxes needs an empty list)"
        )
    if not found:
        raise UserError(f"{path}: no sample in this results file")
    return found


def track_scene(
    detections: dict[int, Boxes], frames: FrameTable, scene: int, method: str
) -> SceneResult:
    """Tracks of one scene, in the format of the tracking submission.

    Args:
        detections: see :func:`read_detections`.  method: one of :data:`METHODS`.
    """
    trackers = {name: _TRACKERS[method](name) for name in TRACKING_CLASSES}
    results = {}
    for frame in np.flatnonzero(frames.scene == scene).tolist():
        token, time = frames.sample_tokens[frame], float(frames.timestamp[frame]) / 1e6
        rows = []
        for name, tracker in trackers.items():
            of_class = np.array([n == name for n in detections[frame].names], bool)
            boxes, numbers = tracker.step(detections[frame].select(of_class), time)
            ids = [f"{scene}-{name}-{number}" for number in numbers.tolist()]
            rows += tracking_results(token, replace(boxes, ids=ids))
        results[token] = rows
    return SceneResult(results, {})


def write_baseline(
    detections: dict[int, Boxes],
    frames: FrameTable,
    method: str,
    path: Path,
    progress: Callable[[], object] = lambda: None,
) -> None:
    """Track all scenes that ``detections`` has and write their results file.

    Args:
        progress: called after each scene.
    """

    def scenes() -> Iterator[SceneResult]:
        for scene in sorted({int(frames.scene[frame]) for frame in detections}):
            yield track_scene(detections, frames, scene, method)
            progress()

    write_results(path, scenes())


def evaluate_baselines(
    result: Path, truth: GroundTruth, out_dir: Path, methods: Sequence[str] = METHODS
) -> dict[str, Evaluation]:
    """Track the boxes of a results file by each method, evaluate, write both to ``out_dir/METHOD``.

    Raises:
        UserError: see :func:`read_detections`.
    """
    from tqdm import tqdm

    detections = read_detections(result, truth.frames, truth.others)
    scenes = len({int(truth.frames.scene[frame]) for frame in detections})
    evaluations = {}
    for method in methods:
        path = out_dir / method / "results_nusc.json"
        with tqdm(total=scenes, desc=f"baseline, {method}", unit="scene", leave=False) as bar:
            write_baseline(detections, truth.frames, method, path, bar.update)
        evaluations[method] = evaluate_results(path, truth, load_tracking_config())
        write_all(evaluations[method], path.parent)
    return evaluations
