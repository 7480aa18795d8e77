"""The fast metrics engine beside the official devkit, on random scenes of growing size.

The devkit's time grows with the square of the data set, so it runs all thresholds at the smallest
size only. At the larger ones a single threshold of each class is timed, and val size is
extrapolated from these by a fit of a·n + b·n².

    python tools/bench.py metrics [--sizes 80 320 1280 6000] [--devkit-up-to 1280]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FRAMES_PER_SCENE = 40
THRESHOLDS = 40


@dataclass
class Timing:
    """CPU seconds at one size; None: not run."""

    samples: int
    gt_boxes: int
    predictions: int
    load: float
    fast: float
    devkit_all: float | None = None
    devkit_threshold: float | None = None
    difference: float | None = None
    peak_mb: float = 0.0


def run(argv: list[str]) -> int:
    """Entry of ``tools/bench.py metrics``."""
    parser = argparse.ArgumentParser(prog="bench.py metrics", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[80, 320, 1280, 6000])
    parser.add_argument("--devkit-up-to", type=int, default=1280, help="largest size for one pass")
    parser.add_argument("--objects", type=float, default=185, help="ground-truth tracks per scene")
    args = parser.parse_args(argv)

    rows = []
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(
                measure(
                    Path(folder),
                    size,
                    args.objects,
                    everything=size == min(args.sizes),
                    one_threshold=size <= args.devkit_up_to,
                )
            )
        _print_row(rows[-1], header=len(rows) == 1)
    _extrapolate(rows)
    return 0


def measure(
    root: Path, samples: int, objects: float, everything: bool, one_threshold: bool
) -> Timing:
    """Time both engines on one generated data set."""
    from nuscenes.utils.splits import val

    from projects.tracking_plugin.evaluation.config import load_tracking_config
    from projects.tracking_plugin.evaluation.ground_truth import load_ground_truth
    from projects.tracking_plugin.evaluation.random_scenes import (
        RandomScenesConfig,
        write_random_scenes,
    )
    from projects.tracking_plugin.evaluation.run import evaluate_results

    names = tuple(val[: max(1, samples // FRAMES_PER_SCENE)])
    scenes = RandomScenesConfig(names, FRAMES_PER_SCENE, objects, ghosts=objects)
    result = write_random_scenes(root, "v1.0-trainval", scenes, seed=0)
    config = load_tracking_config()
    with _cpu() as load:
        truth = load_ground_truth(root, "v1.0-trainval", "val", config.class_names)
    with _cpu() as fast:
        evaluation = evaluate_results(result, truth, config)
    timing = Timing(
        samples=len(truth.frames),
        gt_boxes=len(evaluation.gt),
        predictions=len(evaluation.pred),
        load=load[0],
        fast=fast[0],
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )
    if everything or one_threshold:
        _devkit(root, result, timing, evaluation.tracking, everything)
    return timing


def _devkit(root: Path, result: Path, timing: Timing, ours: Any, everything: bool) -> None:
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.tracking.algo import TrackingEvaluation
    from nuscenes.eval.tracking.constants import MOT_METRIC_MAP
    from nuscenes.eval.tracking.evaluate import TrackingEval
    from nuscenes.eval.tracking.utils import create_motmetrics

    from projects.tracking_plugin.evaluation.devkit import differences

    with contextlib.redirect_stderr(io.StringIO()):
        official = TrackingEval(
            config_factory("tracking_nips_2019"),
            str(result),
            "val",
            str(root / "devkit"),
            "v1.0-trainval",
            str(root),
            verbose=False,
        )
    if everything:
        with _cpu() as spent:
            metrics, details = official.evaluate()
        timing.devkit_all = spent[0]
        found = [*differences(ours.summary(), metrics.serialize())]
        timing.difference = max([*found, *differences(ours.details(), details.serialize())])[0]
    host, cfg = create_motmetrics(), official.cfg
    with _cpu() as spent:
        for name, result_of_class in ours.classes.items():
            known = result_of_class.curves["confidence"]
            known = known[~np.isnan(known)]
            if not len(known):
                continue
            evaluation = TrackingEvaluation(
                official.tracks_gt,
                official.tracks_pred,
                name,
                cfg.dist_fcn_callable,
                cfg.dist_th_tp,
                cfg.min_recall,
                num_thresholds=THRESHOLDS,
                metric_worst=cfg.metric_worst,
                verbose=False,
            )
            events, _scores = evaluation.accumulate_threshold(float(np.median(known)))
            host.compute(events, metrics=MOT_METRIC_MAP.keys(), name="median")
    timing.devkit_threshold = spent[0]


@contextlib.contextmanager
def _cpu() -> Iterator[list[float]]:
    """CPU seconds of the block, as the only element of the list once it has ended."""
    result = [0.0]
    start = time.process_time()
    yield result
    result[0] = time.process_time() - start


def _print_row(row: Timing, header: bool) -> None:
    if header:
        print(
            "samples  gt boxes  predictions  tables s  fast s  peak MB  "
            "devkit s  devkit s, 1 threshold  largest difference"
        )

    def text(value: float | None, form: str = ".1f") -> str:
        return "-" if value is None else format(value, form)

    print(
        f"{row.samples:7d}  {row.gt_boxes:8d}  {row.predictions:11d}  {row.load:8.1f}  "
        f"{row.fast:6.1f}  {row.peak_mb:7.0f}  {text(row.devkit_all):>8}  "
        f"{text(row.devkit_threshold):>21}  {text(row.difference, '.1e'):>18}",
        flush=True,
    )


def _extrapolate(rows: list[Timing]) -> None:
    """Print what the devkit would need at the largest size, from the single thresholds."""
    timed = [r for r in rows if r.devkit_threshold is not None]
    last = rows[-1]
    if len(timed) < 2 or last.devkit_threshold is not None:
        return
    n = np.array([r.samples for r in timed], float)
    seconds = np.array([r.devkit_threshold for r in timed], float)
    weight = 1 / seconds  # relative errors count
    linear, square = np.linalg.lstsq(
        np.c_[n, n * n] * weight[:, None], seconds * weight, rcond=None
    )[0]
    one = linear * last.samples + square * last.samples**2
    total = one * (THRESHOLDS + 1)
    print(
        f"\nextrapolated, not measured: devkit at {last.samples} samples {one:.0f} s per threshold "
        f"({linear:.2e} n + {square:.2e} n²), {total:.0f} s for {THRESHOLDS} thresholds and the "
        f"pass that finds them: {total / last.fast:.0f} times the fast engine"
    )
