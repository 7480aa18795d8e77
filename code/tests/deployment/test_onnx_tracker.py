"""The runner without PyTorch: the same tracks, nothing else imported, one line for bad use."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from street_frames import frame
from tiny_tracker import petrv2
from tracker_files import KINDS, sources

from pftrack import load_tracker
from pftrack.datasets.frames import prepare_frame
from pftrack.deployment import OnnxTracker, export
from pftrack.deployment.export import export_tracker
from pftrack.deployment.operators import obstacles
from pftrack.errors import UserError
from pftrack.paths import CODE

pytestmark = pytest.mark.slow
SCENE = [(0.5 * t, "a" if t < 4 else "b") for t in range(6)]

ALONE = """
import sys
before = set(sys.modules)  # an environment's .pth files may import, too
import pickle
sys.path.insert(0, {code!r})
from pftrack.deployment import OnnxTracker
tracker = OnnxTracker({folder!r})
for frame in pickle.load(open({frames!r}, "rb")):
    print([(track.id, *track.center.round(2).tolist()) for track in tracker.step(frame)])
new = set(sys.modules) - before
modules = {{name.split(".")[0] for name in new}} - set(sys.stdlib_module_names)
print(sorted(name for name in modules if not name.startswith("_")), file=sys.stderr)
"""
ALLOWED = {"PIL", "cv2", "numpy", "onnxruntime", "pftrack"}


def test_the_same_tracks_as_the_ordinary_tracker(exported: Path) -> None:
    ordinary = load_tracker(exported / "config.py", exported / "tiny.pth", "cpu")
    deployed, count = OnnxTracker(exported / "onnx"), 0
    for seconds, scene in SCENE:
        sample = frame(seconds, scene, seed=int(2 * seconds))
        arrays = prepare_frame(sample, ordinary.images.augmentation)
        expected, found = ordinary.step(sample, arrays), deployed.step(sample, arrays)
        assert [track.id for track in found] == [track.id for track in expected]
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.name == theirs.name
            assert mine.score == pytest.approx(theirs.score, abs=1e-4)
            np.testing.assert_allclose(mine.center, theirs.center, atol=2e-3)
        count += len(found)
    assert count > len(SCENE)
    first = [track.id for track in deployed.step(frame(0.0, "z"))]
    deployed.reset()
    assert [f"1-{name.split('-')[1]}" for name in first] == [
        track.id for track in deployed.step(frame(0.0, "z"))
    ]


def test_a_head_that_remembers_on_a_rig_of_five_cameras(tmp_path: Path) -> None:
    thresholds = KINDS["detr3d"]["runtime_tracker"]  # without reasoning, which takes long to export
    kind = {"reasoning": False, "runtime_tracker": thresholds, **petrv2()}
    config, checkpoint = sources(tmp_path, **kind)
    deployment = export_tracker(config, checkpoint, tmp_path / "onnx", slots=90, cameras=5)
    shapes = {spec.name: spec.shape for spec in deployment.memory}
    assert shapes["memory_head_keys"][:2] == [1, 5] and deployment.cameras == 5
    assert obstacles(tmp_path / "onnx" / "tracker.onnx") == []
    ordinary = load_tracker(config, checkpoint, "cpu")
    deployed, count = OnnxTracker(tmp_path / "onnx"), 0
    for seconds, scene in SCENE:
        sample = frame(seconds, scene, int(2 * seconds), cameras=5)
        arrays = prepare_frame(sample, ordinary.images.augmentation)
        expected, found = ordinary.step(sample, arrays), deployed.step(sample, arrays)
        assert [track.id for track in found] == [track.id for track in expected]
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine.center, theirs.center, atol=2e-3)
        count += len(found)
    assert count > len(SCENE)
    with pytest.raises(UserError, match="6 images, but the exported tracker takes 5"):
        deployed.step(frame(0.0))
    with pytest.raises(UserError, match="cannot export for 13 cameras: 1 to 12"):
        export_tracker(config, checkpoint, tmp_path / "other", cameras=13)


def test_nothing_but_numpy_pillow_and_onnxruntime_is_imported(
    exported: Path, tmp_path: Path
) -> None:
    frames = [frame(seconds, scene, seed=1) for seconds, scene in SCENE[:2]]
    (tmp_path / "frames.pkl").write_bytes(pickle.dumps(frames))
    folder = str(exported / "onnx")
    program = ALONE.format(code=str(CODE), folder=folder, frames=str(tmp_path / "frames.pkl"))
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    imported = set(eval(run.stderr.strip().splitlines()[-1]))
    assert "torch" not in imported and "mmcv" not in imported
    assert {name for name in imported if name not in ALLOWED} <= {"cython_runtime"}
    tracker = OnnxTracker(folder)
    expected = [
        [(track.id, *track.center.round(2).tolist()) for track in tracker.step(sample)]
        for sample in frames
    ]
    assert run.stdout.splitlines() == [str(tracks) for tracks in expected]
    assert any(expected)


def test_frames_that_do_not_fit_are_one_line(exported: Path) -> None:
    tracker, sample = OnnxTracker(exported / "onnx"), frame(0.0)
    few = {
        name: getattr(sample, name)[:4]
        for name in ("images", "intrinsics", "sensor2ego", "camera_ego2global")
    }
    with pytest.raises(UserError, match="4 images, but the exported tracker takes 6"):
        tracker.step(replace(sample, **few))
    with pytest.raises(UserError, match=r"intrinsics has the shape \(\), needs \(6, 3, 3\)"):
        tracker.step(replace(sample, intrinsics=None))
    arrays = prepare_frame(sample, tracker.images.augmentation, size_divisor=1)
    with pytest.raises(UserError, match=r"images of \(60, 90\), but the exported .*\(64, 96\)"):
        tracker.step(sample, arrays)
    with pytest.raises(UserError, match="unknown provider 'npu': use cpu, cuda, tensorrt"):
        OnnxTracker(exported / "onnx", "npu")
    with pytest.raises(UserError, match="provider 'tensorrt': this ONNX Runtime has"):
        OnnxTracker(exported / "onnx", "tensorrt")


def test_files_that_do_not_belong_together_are_one_line(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "onnx"
    shutil.copytree(exported / "onnx", folder)
    description = folder / "deployment.json"
    content = json.loads(description.read_text())
    description.write_text(json.dumps({**content, "graph_sha256": "0" * 64}))
    with pytest.raises(UserError, match=r"is not the one that its deployment.json describes"):
        OnnxTracker(folder)
    description.write_text(json.dumps(content))
    graph = folder / "tracker.onnx"
    graph.write_bytes(graph.read_bytes()[:-1000])
    with pytest.raises(UserError, match="it is damaged"):
        OnnxTracker(folder)
    graph.unlink()
    with pytest.raises(UserError, match=r"no .*tracker.onnx, which deployment.json names"):
        OnnxTracker(folder)


def test_large_weights_lie_beside_the_graph(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "LARGE", 1000)
    folder = tmp_path / "split"
    deployment = export_tracker(exported / "config.py", exported / "tiny.pth", folder, slots=90)
    weights = folder / "tracker.onnx.data"
    assert list(deployment.weights) == [weights.name]
    assert weights.stat().st_size > 100_000
    assert f"with its weights in {weights.name}" in (folder / "README.md").read_text()
    assert deployment.differences["score"] < 1e-4  # the runner has loaded it
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"tracker.onnx.data is not the one that its deployment"):
        OnnxTracker(folder)
    weights.unlink()
    with pytest.raises(UserError, match=r"no .*tracker.onnx.data, which deployment.json names"):
        OnnxTracker(folder)
