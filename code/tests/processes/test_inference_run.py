"""Whole runs of the demo tracker with random weights: sharded, killed and resumed, evaluated."""

from __future__ import annotations

import json
import pickle
import queue
import signal
import subprocess
import sys
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from laboratory.parity.weights import fill
from pftrack.commands.shared import status_of
from pftrack.config import load_config
from pftrack.errors import UserError
from pftrack.evaluation.config import load_tracking_config
from pftrack.evaluation.ground_truth import load_ground_truth
from pftrack.evaluation.submission import load_results
from pftrack.paths import CHECKPOINTS_DIR, CODE
from pftrack.registry import build_model
from pftrack.structures import CLASSES
from pftrack.tracking import runner
from pftrack.tracking.job import InferenceJob
from pftrack.tracking.runner import run_inference

CONFIG = "projects/configs/tracking/demo/f3_demo.py"
# test_tracking.py that kills itself after eight frames; the first scene has six.
KILLED = """
import os, runpy, signal, sys
import tqdm
class Bar(tqdm.tqdm):
    def update(self, n=1):
        super().update(n)
        if self.n == 8:
            os.kill(os.getpid(), signal.SIGKILL)
tqdm.tqdm = Bar
sys.argv[0] = "tools/test_tracking.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def job(
    tmp_path_factory: pytest.TempPathFactory, demo_data: Path, demo_infos: dict[str, Path]
) -> InferenceJob:
    """Both scenes in one info file; weights by formula, which find something everywhere."""
    folder = tmp_path_factory.mktemp("inference")
    infos = [pickle.loads(path.read_bytes()) for path in demo_infos.values()]
    merged = {"infos": infos[0]["infos"] + infos[1]["infos"], "metadata": infos[0]["metadata"]}
    (folder / "infos.pkl").write_bytes(pickle.dumps(merged))
    overrides = (
        f"data.val.data_root={demo_data}",
        f"data.val.ann_file={folder / 'infos.pkl'}",
        "model.runtime_tracker.score_threshold=0.8",
        "model.runtime_tracker.record_threshold=0.5",
    )
    model = build_model(load_config(CONFIG, list(overrides)).model)
    fill(model)
    torch.save({"state_dict": model.state_dict()}, folder / "random.pth")
    return InferenceJob(config=CONFIG, checkpoint=str(folder / "random.pth"), overrides=overrides)


@pytest.fixture(scope="module")
def whole(job: InferenceJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results file of one process, undisturbed."""
    return run_inference(job, ["cpu"], tmp_path_factory.mktemp("whole")).result_path


def test_results_are_a_valid_submission_with_forecasts(whole: Path, demo_data: Path) -> None:
    content = json.loads(whole.read_text())
    boxes = [box for frame in content["results"].values() for box in frame]
    assert len(content["results"]) == 12 and len(boxes) > 20
    assert all(len(box["forecasting"]) == 8 for box in boxes)
    assert {box["tracking_id"].split("-")[0] for box in boxes} == {"1", "2"}
    left = {p.name for p in whole.parent.iterdir()} - {"tf_logs"}  # make watch: of longer runs
    assert left == {"results_nusc.json"}


def test_two_processes_write_the_same_file(job: InferenceJob, whole: Path, tmp_path: Path) -> None:
    run = run_inference(job, ["cpu", "cpu"], tmp_path)
    assert run.result_path.read_bytes() == whole.read_bytes()
    assert run.frames == 12 and run.scenes == 2 and run.seconds["backbone"] > 0


def near(value: Any) -> Any:
    if isinstance(value[0] if isinstance(value, list) else value, list):
        return [near(part) for part in value]
    return pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize("streams", [2, 4])
def test_scenes_at_once_have_the_same_results(
    job: InferenceJob, tmp_path: Path, streams: int
) -> None:
    """Three scenes of 6, 4 and 2 frames: with two streams the last takes a place that is free."""
    (name,) = (o.partition("=")[2] for o in job.overrides if "ann_file" in o)
    content = pickle.loads(Path(name).read_bytes())
    for info in content["infos"][10:]:
        info["scene_token"] = "f" * 32
    (tmp_path / "infos.pkl").write_bytes(pickle.dumps(content))
    job = replace(job, overrides=(*job.overrides, f"data.val.ann_file={tmp_path / 'infos.pkl'}"))
    run = run_inference(job, ["cpu"], tmp_path / "one")
    at_once = run_inference(replace(job, streams=streams), ["cpu"], tmp_path / "several")
    one, several = (json.loads(r.result_path.read_text())["results"] for r in (run, at_once))
    assert list(one) == list(several)
    for token, boxes in one.items():
        for box, other in zip(boxes, several[token], strict=True):
            for key, value in box.items():
                # To the last digits: for more images a CPU may add in another order.
                assert other[key] == (value if isinstance(value, str) else near(value)), key
    assert (at_once.frames, at_once.scenes, at_once.boxes) == (12, 3, run.boxes)
    assert at_once.seconds.keys() == run.seconds.keys() and run.boxes > 20


def test_several_scenes_at_once_are_for_tracking_by_torch(job: InferenceJob) -> None:
    for changes in ({"engine": "onnx"}, {"engine": "static"}, {"task": "detection"}):
        with pytest.raises(UserError, match="--streams 2: only tracking by the engine torch"):
            replace(job, streams=2, **changes)
    with pytest.raises(UserError, match="--streams 0: at least one"):
        replace(job, streams=0)


def test_killed_run_continues_and_writes_the_same_file(
    job: InferenceJob, whole: Path, tmp_path: Path
) -> None:
    """SIGKILL in the middle of the second scene; the second run must not repeat the first."""
    arguments = [job.config, job.checkpoint, f"--jsonfile_prefix={tmp_path}", "--format-only"]
    arguments += ["--gpus=0", "--cfg-options", *job.overrides]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=CODE)
    assert done.returncode == -signal.SIGKILL
    (stored,) = tmp_path.glob("scenes-*/*.json")
    content = json.loads(stored.read_text())
    content["seconds"]["marker"] = 1.0  # shows in the sum only if this file is used
    stored.write_text(json.dumps(content))
    run = run_inference(job, ["cpu"], tmp_path)
    assert run.seconds["marker"] == 1.0
    assert run.result_path.read_bytes() == whole.read_bytes()


def centers(result: Path) -> dict[tuple[str, str], list[float]]:
    frames = json.loads(result.read_text())["results"]
    return {(t, b["tracking_id"]): b["translation"] for t, boxes in frames.items() for b in boxes}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["static", "onnx"])
def test_every_engine_reports_the_same(
    job: InferenceJob, demo_infos: dict[str, Path], tmp_path: Path, engine: str
) -> None:
    overrides = (*job.overrides, f"data.val.ann_file={demo_infos['val']}")
    command = ["tools/eval.py", job.checkpoint, "--config", job.config, "--gpus", "0"]
    command += ["--engine", engine, "--work-dir", str(tmp_path), "--cfg-options", *overrides]
    subprocess.run([sys.executable, *command], cwd=CODE, check=True)
    ordinary = run_inference(replace(job, overrides=overrides), ["cpu"], tmp_path / "ordinary")
    found, expected = centers(tmp_path / "results_nusc.json"), centers(ordinary.result_path)
    assert found.keys() == expected.keys()
    for key, center in found.items():
        assert center == pytest.approx(expected[key], abs=0.05)
    assert json.loads((tmp_path / "run.json").read_text())["job"]["engine"] == engine
    assert (tmp_path / "deployment" / "tracker.onnx").is_file() == (engine == "onnx")


def test_worker_reports_a_user_error_in_one_line(job: InferenceJob, tmp_path: Path) -> None:
    torn = tmp_path / "torn.pth"
    torn.write_bytes(Path(job.checkpoint).read_bytes()[:1000])
    messages: queue.Queue[tuple[str, str]] = queue.Queue()
    broken = replace(job, checkpoint=str(torn))
    before = signal.getsignal(signal.SIGINT)
    try:
        runner.run_worker(broken, ["scene"], "cpu", tmp_path, {}, messages)
    finally:
        signal.signal(signal.SIGINT, before)
    kind, message = messages.get_nowait()
    assert kind == "user error" and "torn.pth" in message and "\n" not in message


def test_conv_bn_fusion_stays_near(job: InferenceJob, whole: Path, tmp_path: Path) -> None:
    fused = run_inference(replace(job, fuse_conv_bn=False), ["cpu"], tmp_path).result_path
    ours, theirs = (json.loads(p.read_text())["results"] for p in (whole, fused))
    pairs = [(a, b) for t in ours for a, b in zip(ours[t], theirs[t], strict=True)]
    worst = max(
        abs(x - y)
        for a, b in pairs
        for x, y in zip(a["translation"], b["translation"], strict=True)
    )
    assert 0 < worst < 1e-2  # m


def test_detection_of_all_classes_is_evaluated_by_the_devkit(
    job: InferenceJob, demo_infos: dict[str, Path], tmp_path: Path
) -> None:
    from pftrack.evaluation.devkit import evaluate_detection_devkit

    overrides = (*job.overrides, f"data.val.ann_file={demo_infos['val']}")
    detect = replace(job, task="detection", overrides=overrides)
    run = run_inference(detect, ["cpu"], tmp_path)
    boxes = next(iter(json.loads(run.result_path.read_text())["results"].values()))
    assert len({b["detection_name"] for b in boxes}) > 3
    summary = evaluate_detection_devkit(
        run.result_path, run.data_root, run.version, "mini_val", tmp_path
    )
    assert 0 <= summary["mean_ap"] < 0.1


def test_what_comes_after_is_asked_for_before(job: InferenceJob, tmp_path: Path) -> None:
    """Nothing is tracked where the metrics would fail."""

    def refuse(data_root: str, version: str) -> None:
        raise UserError(f"{Path(data_root).name} {version} will not do")

    with pytest.raises(UserError, match=r"nuscenes v1\.0-mini will not do"):
        run_inference(job, ["cpu"], tmp_path / "out", check=refuse)
    assert not list((tmp_path / "out").glob("*.json"))


def test_eval_command_leaves_metrics_and_report(
    job: InferenceJob, demo_data: Path, demo_infos: dict[str, Path], tmp_path: Path
) -> None:
    command = [sys.executable, "tools/eval.py", job.checkpoint, f"--config={job.config}"]
    command += [f"--work-dir={tmp_path}", "--gpus=0", "--cfg-options", *job.overrides]
    command += [f"data.val.ann_file={demo_infos['val']}"]
    done = subprocess.run(command, cwd=CODE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "AMOTA" in done.stdout and "report.html" in done.stdout
    names = {p.name for p in tmp_path.iterdir()}
    assert names >= {"results_nusc.json", "run.json", "metrics_summary.json", "report.html"}
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["run"]["frames"] == 6 and "backbone" in report["runtime"]["stages_ms"]
    config = load_tracking_config()
    truth = load_ground_truth(demo_data, "v1.0-mini", "val", config.class_names)
    load_results(tmp_path / "results_nusc.json", truth.frames, config)


def permuted(checkpoint: Path, path: Path, order: list[int]) -> Path:
    """A checkpoint whose labels are numbered anew: output i is what order[i] was."""
    content = torch.load(checkpoint, weights_only=True)
    for name, value in content["state_dict"].items():
        if ("cls_branches" in name or "track_cls" in name) and len(value) == len(CLASSES):
            content["state_dict"][name] = value[order]
    content["meta"]["CLASSES"] = [CLASSES[i] for i in order]
    torch.save(content, path)
    return path


def test_classes_are_names_in_whatever_order(
    job: InferenceJob, tmp_path: Path, demo_data: Path
) -> None:
    """The demo's tracker with its labels in PETR's order tracks the same, and is refused where the
    order is not stated."""
    shipped = CHECKPOINTS_DIR / "demo" / "f3_demo.pth"
    data = tuple(o for o in job.overrides if o.startswith("data."))
    plain = replace(job, checkpoint=str(shipped), overrides=data)
    petr = ["car", "truck", "construction_vehicle", "bus", "trailer", "barrier", "motorcycle"]
    petr += ["bicycle", "pedestrian", "traffic_cone"]
    weights = permuted(shipped, tmp_path / "petr.pth", [CLASSES.index(name) for name in petr])
    stated = tuple(f"data.{split}.classes={petr}" for split in ("train", "val", "test"))
    other = replace(plain, checkpoint=str(weights))
    with pytest.raises(UserError, match="label 2 is 'construction_vehicle' there, 'bus' here"):
        run_inference(other, ["cpu"], tmp_path / "refused")
    for task in ("tracking", "detection"):
        runs = [
            run_inference(replace(j, task=task), ["cpu"], tmp_path / f"{task}{n}")
            for n, j in enumerate((plain, replace(other, overrides=data + stated)))
        ]
        ours, theirs = (json.loads(run.result_path.read_text())["results"] for run in runs)
        assert runs[0].boxes > 0 and ours.keys() == theirs.keys()
        for token in ours:
            # By place: scores that are equal but for the last digit change their order.
            by_place = (sorted(r[token], key=itemgetter("translation")) for r in (ours, theirs))
            for box, same in zip(*by_place, strict=True):
                for field, value in box.items():  # sums in another order differ in the last digit
                    if isinstance(value, str):
                        assert same[field] == value
                    else:
                        np.testing.assert_allclose(same[field], value, atol=1e-3)


def test_nothing_found_is_said(
    job: InferenceJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(job.checkpoint, weights_only=True)
    for name, value in content["state_dict"].items():
        if ("cls_branches" in name or "track_cls" in name) and name.endswith("6.bias"):
            value.fill_(-100.0)  # every score is 0
    torch.save(content, tmp_path / "blind.pth")
    run = run_inference(replace(job, checkpoint=str(tmp_path / "blind.pth")), ["cpu"], tmp_path)
    assert run.nothing_found == "0 boxes in 12 frames, 0 instances not finite"
    assert status_of(run) == 1
    said = "\n0 boxes in 12 frames, 0 instances not finite: is it"
    assert said in capsys.readouterr().err
    assert status_of(run, evaluated=False) == 0
    assert said[1:] in capsys.readouterr().err
    assert status_of(replace(run, not_finite=3), evaluated=False) == 1
    assert status_of(replace(run, boxes=1)) == 0
