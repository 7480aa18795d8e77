"""The fast metrics engine beside the official devkit, on random scenes of growing size.

Both run from files to numbers, each in its own process, with the same configuration, and every
number is compared. The devkit's time grows with the number of recall thresholds and with the square
of the tracks, so above ``--all-thresholds-up-to`` samples both use fewer thresholds; what the
devkit would need for all 40 is then extrapolated by the number of passes, and marked with "~".

    python tools/bench.py metrics [--sizes 80 320 1280 6000] [--all-thresholds-up-to 320]
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import io
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laboratory.measuring.record import Row
from pftrack.arguments import Parser
from pftrack.evaluation.config import TrackingConfig, load_tracking_config
from pftrack.memory import peak_memory
from pftrack.nuscenes.versions import TRAINVAL

FRAMES_PER_SCENE = 40


@dataclass(frozen=True)
class Outcome:
    """One engine on one data set.

    Attributes:
        load, metrics: CPU seconds for tables and results, and for the metrics themselves.
        peak_gb: largest resident memory of the process.
        gt_boxes, predictions: compared.  summary, details: in the devkit's format.
    """

    load: float
    metrics: float
    peak_gb: float
    gt_boxes: int
    predictions: int
    summary: dict[str, Any]
    details: dict[str, Any]

    def passes(self) -> int:
        """Over the data, as the devkit does: per class one, and one per distinct threshold."""
        curves = self.details.values()
        return sum(1 + len({c for c in curve["confidence"] if c == c}) for curve in curves)


def run(argv: list[str]) -> list[Row]:
    """Entry of ``tools/bench.py metrics``."""
    parser = Parser(prog="bench.py metrics", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[80, 320, 1280, 6000])
    parser.add_argument("--all-thresholds-up-to", type=int, default=320, metavar="SAMPLES")
    parser.add_argument("--thresholds", type=int, default=3, help="at larger sizes (3)")
    parser.add_argument("--objects", type=float, default=185, help="ground-truth tracks per scene")
    args = parser.parse_args(argv)

    official = load_tracking_config()
    print(
        "samples  gt boxes  predictions   fast s (tables)     GB   "
        "devkit s (tables)    GB  thresholds    devkit s, all  times  largest difference"
    )
    rows = []
    for size in args.sizes:
        config = official
        if size > args.all_thresholds_up_to:
            config = with_thresholds(official, args.thresholds)
        with tempfile.TemporaryDirectory() as folder:
            rows.append(compare(Path(folder), size, args.objects, official, config))
    return rows


def with_thresholds(config: TrackingConfig, count: int) -> TrackingConfig:
    """The same configuration with another number of recall thresholds."""
    raw = {**config.raw, "num_thresholds": count}
    return dataclasses.replace(config, num_thresholds=count, raw=raw)


def compare(
    root: Path, samples: int, objects: float, official: TrackingConfig, config: TrackingConfig
) -> Row:
    """Generate a data set, run both engines; print one row of the table."""
    from nuscenes.utils.splits import val

    from laboratory.random_scenes import (
        RandomScenesConfig,
        write_random_scenes,
    )
    from pftrack.evaluation.devkit import differences

    names = tuple(val[: max(1, samples // FRAMES_PER_SCENE)])
    scenes = RandomScenesConfig(names, FRAMES_PER_SCENE, objects, ghosts=objects)
    result = write_random_scenes(root, TRAINVAL, scenes, seed=0)
    everything = alone(fast, root, result, official)
    ours = everything if config is official else alone(fast, root, result, config)
    theirs = alone(devkit, root, result, config)
    difference = max(
        *differences(ours.summary, theirs.summary), *differences(ours.details, theirs.details)
    )
    devkit_all = theirs.load + theirs.metrics * everything.passes() / theirs.passes()
    fast_all = everything.load + everything.metrics
    print(
        f"{len(names) * FRAMES_PER_SCENE:7d}  {ours.gt_boxes:8d}  {ours.predictions:11d}  "
        f"{fast_all:7.1f} ({everything.load:6.1f})  {everything.peak_gb:5.2f}  "
        f"{theirs.load + theirs.metrics:8.1f} ({theirs.load:6.1f})  {theirs.peak_gb:5.2f}  "
        f"{config.num_thresholds:10d}  {'' if config is official else '~':>6}{devkit_all:9.1f}  "
        f"{devkit_all / fast_all:5.0f}  {difference[0]:18.1e}",
        flush=True,
    )
    numbers = {
        "fast CPU s": fast_all,
        "fast peak GB": everything.peak_gb,
        "devkit CPU s": devkit_all,
        "devkit peak GB": theirs.peak_gb,
        "largest difference": float(difference[0]),
    }
    return Row(f"{len(names) * FRAMES_PER_SCENE} samples", numbers)


def alone(engine: Callable[[Path, Path, TrackingConfig], Outcome], *args: Any) -> Outcome:
    """Run an engine in a new process, so that the memory peak is its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(engine, *args).result()


def fast(root: Path, result: Path, config: TrackingConfig) -> Outcome:
    """This project's engine."""
    import nuscenes.utils.splits  # noqa: F401 (imports are not counted)

    from pftrack.evaluation.ground_truth import load_ground_truth
    from pftrack.evaluation.run import evaluate_results

    start = time.process_time()
    truth = load_ground_truth(root, TRAINVAL, "val", config.class_names)
    loaded = time.process_time()
    evaluation = evaluate_results(result, truth, config)
    return Outcome(
        load=loaded - start,
        metrics=time.process_time() - loaded,
        peak_gb=peak_memory() / 1e9,
        gt_boxes=len(evaluation.gt),
        predictions=len(evaluation.pred),
        summary=evaluation.tracking.summary(),
        details=evaluation.tracking.details(),
    )


def devkit(root: Path, result: Path, config: TrackingConfig) -> Outcome:
    """The official one."""
    from nuscenes.eval.tracking.data_classes import TrackingConfig as DevkitConfig
    from nuscenes.eval.tracking.evaluate import TrackingEval

    start = time.process_time()
    with contextlib.redirect_stderr(io.StringIO()):  # its bars
        evaluation = TrackingEval(
            DevkitConfig.deserialize(config.raw),
            str(result),
            "val",
            str(root / "devkit"),
            TRAINVAL,
            str(root),
            verbose=False,
        )
    loaded = time.process_time()
    metrics, details = evaluation.evaluate()

    def boxes(tracks: dict[str, Any]) -> int:
        return sum(len(frame) for scene in tracks.values() for frame in scene.values())

    return Outcome(
        load=loaded - start,
        metrics=time.process_time() - loaded,
        peak_gb=peak_memory() / 1e9,
        gt_boxes=boxes(evaluation.tracks_gt),
        predictions=boxes(evaluation.tracks_pred),
        summary=metrics.serialize(),
        details=details.serialize(),
    )
