"""The documents' example: a folder of images, its calibration and an export become a video."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from street_frames import frame

from pftrack.paths import CODE

EXAMPLE = CODE / "tools" / "track_images.py"


def images_with_calibration(folder: Path, count: int) -> None:
    moments = []
    for t in range(count):
        sample = frame(0.5 * t, seed=t)
        names = [f"{t}_{camera}.png" for camera in range(len(sample.images))]
        for name, image in zip(names, sample.images, strict=True):
            cv2.imwrite(str(folder / name), image)
        ego2global = sample.ego2global.tolist()
        moments.append({"timestamp": 0.5 * t, "ego2global": ego2global, "images": names})
    rig = {
        name: getattr(sample, name).tolist() for name in ("intrinsics", "sensor2ego", "lidar2ego")
    }
    (folder / "calibration.json").write_text(json.dumps({**rig, "frames": moments}))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_the_example_draws_a_video(exported: Path, tmp_path: Path) -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 60
    images_with_calibration(tmp_path, 3)
    done = run(exported / "onnx", tmp_path, tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["0.0 s", "0.5 s", "1.0 s"]
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 3
    (tmp_path / "calibration.json").write_text("{}")
    done = run(exported / "onnx", tmp_path, tmp_path / "out.mp4")
    assert done.returncode == 2 and "calibration.json" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
