"""The official devkit as an engine, and the comparison of its numbers with ours."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pftrack.errors import UserError
from pftrack.evaluation.config import TrackingConfig
from pftrack.files import read_json
from pftrack.nuscenes.results_file import read_results
from pftrack.nuscenes.splits import is_split_file
from pftrack.nuscenes.versions import version_folder

# Tables that the devkit opens, whatever it is asked for.
_TABLES = (
    "category",
    "attribute",
    "visibility",
    "instance",
    "sensor",
    "calibrated_sensor",
    "ego_pose",
    "log",
    "scene",
    "sample",
    "sample_data",
    "sample_annotation",
    "map",
)
_DETECTION = ("velocity", "detection_name", "detection_score")


def check_data(
    dataroot: str | Path, version: str, way_out: str = "add it, see nuscenes.org"
) -> None:
    """Whether a data set has what the devkit asks for when it opens one.

    Beside the tables that metrics need these are the images of the maps, and where there are tables
    of point labels, their files and the categories' indices.

    Raises:
        UserError: something lacks; ``way_out`` says what to do.
    """
    root, folder = Path(dataroot), version_folder(dataroot, version)
    lacking = [
        f"{version}/{name}.json" for name in _TABLES if not (folder / f"{name}.json").is_file()
    ]
    if not lacking:
        for row in _rows(folder / "map.json"):
            name = str(row.get("filename"))
            if not (root / name).is_file():
                lacking.append(name)
    for task in ("lidarseg", "panoptic"):
        if lacking or not (folder / f"{task}.json").is_file():
            continue
        if not all("index" in row for row in _rows(folder / "category.json")):
            lacking.append(f"'index' in {version}/category.json (it comes with {task})")
        labels = root / task / version
        found = sum(p.suffix in (".bin", ".npz") for p in labels.glob("*"))
        if found != len(_rows(folder / f"{task}.json")):
            lacking.append(f"label files in {task}/{version} ({found} found)")
    if lacking:
        more = f" and {len(lacking) - 1} more" * (len(lacking) > 1)
        raise UserError(
            f"the devkit needs more of the data set {root} than there is: {lacking[0]}{more}; "
            f"{way_out}"
        )


def _rows(path: Path) -> list[dict[str, Any]]:
    return read_json(path, list[dict[str, Any]], "the table", "unpack the data set again")


def evaluate_tracking_devkit(
    result_path: str | Path,
    dataroot: str | Path,
    version: str,
    split: str,
    out_dir: str | Path,
    config: TrackingConfig,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run ``TrackingEval`` on a results file that :func:`load_results` has accepted.

    Writes ``metrics_summary.json`` and ``metrics_details.json`` to ``out_dir``.

    Returns:
        (summary, details): the content of these files.

    Raises:
        UserError: no box in the whole file, which the devkit cannot evaluate.
    """
    check_split(split)
    from nuscenes.eval.tracking.data_classes import TrackingConfig as DevkitConfig
    from nuscenes.eval.tracking.evaluate import TrackingEval

    out_dir = Path(out_dir)
    try:
        evaluation = TrackingEval(
            config=DevkitConfig.deserialize(config.raw),
            result_path=str(result_path),
            eval_set=split,
            output_dir=str(out_dir),
            nusc_version=version,
            nusc_dataroot=str(dataroot),
            verbose=False,
        )
    except Exception as error:
        if "Invalid box type: None" in str(error):
            raise UserError(
                f"{result_path} holds no box at all, which the devkit cannot evaluate: "
                f"use --engine fast"
            ) from None
        raise
    evaluation.main(render_curves=False)
    return _read(out_dir / "metrics_summary.json"), _read(out_dir / "metrics_details.json")


def evaluate_detection_devkit(
    result_path: str | Path,
    dataroot: str | Path,
    version: str,
    split: str,
    out_dir: str | Path,
) -> dict[str, Any]:
    """Run ``DetectionEval`` (configuration ``detection_cvpr_2019``) on a detection results file.

    Returns:
        the content of ``metrics_summary.json``: ``mean_ap``, ``nd_score``, ``tp_errors``, ...
    """
    check_split(split)
    from nuscenes import NuScenes
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval

    out_dir = Path(out_dir)
    check_data(dataroot, version)
    for token, boxes in read_results(result_path):
        for i, box in enumerate(boxes):
            lacking = [name for name in _DETECTION if box.get(name) is None]
            if lacking:
                raise UserError(f"{result_path}: box {i} of sample '{token}': no {lacking[0]}")
    try:
        database = NuScenes(version=version, dataroot=str(dataroot), verbose=False)
    except (AssertionError, OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"the devkit cannot read the data set {dataroot}: {' '.join(str(error).split())}; it "
            "wants maps/ and all tables, see nuscenes.org"
        ) from error
    try:
        evaluation = DetectionEval(
            database,
            config=config_factory("detection_cvpr_2019"),
            result_path=str(result_path),
            eval_set=split,
            output_dir=str(out_dir),
            verbose=False,
        )
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.main(plot_examples=0, render_curves=False)
    except (AssertionError, KeyError, ValueError) as error:
        raise UserError(f"{result_path}: the devkit rejects it: {error}") from None
    return _read(out_dir / "metrics_summary.json")


def check_split(split: str) -> None:
    """A split that the devkit can read.

    Raises:
        UserError: one by file.
    """
    if is_split_file(split):
        raise UserError(
            f"the devkit cannot evaluate the split file {split}: it knows the official splits and "
            "those of splits.json in the version's folder ('pftrack split --name' writes one there)"
        )


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[tuple[float, str]]:
    """Yield (absolute difference, where) for every number of two summaries or details.

    Settings (``cfg``), run time, meta and split are left out; NaN equals NaN; a number against none
    is infinitely far.
    """
    if isinstance(ours, dict):
        for key in ours.keys() | theirs.keys():
            if key in ("cfg", "meta", "eval_time", "split"):
                continue
            if key not in ours or key not in theirs:
                yield math.inf, f"{path}/{key}"
            else:
                yield from differences(ours[key], theirs[key], f"{path}/{key}")
    elif isinstance(ours, list):
        if len(ours) != len(theirs):
            yield math.inf, path
        for i, (a, b) in enumerate(zip(ours, theirs, strict=False)):
            yield from differences(a, b, f"{path}[{i}]")
    elif math.isnan(ours) or math.isnan(theirs):
        yield (0.0 if math.isnan(ours) and math.isnan(theirs) else math.inf), path
    else:
        yield abs(ours - theirs), path
