"""Command lines of the tools, as a user types them: what they print, write and refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from download_server import WEIGHTS, make_zip

from pftrack.datasets.infos import load_infos
from pftrack.paths import CODE
from pftrack.visualization.mosaic import HEADER
from pftrack.visualization.scenes import load_split

F3 = "projects/configs/tracking/petr/f3_q5_800x320.py"


def test_create_data_writes_info_files(
    demo_data: Path, demo_infos: dict[str, Path], tmp_path: Path
) -> None:
    command = [sys.executable, "tools/create_data.py", "nuscenes-tracking", "--forecasting"]
    command += [f"--root-path={demo_data}", f"--out-dir={tmp_path}", "--version=v1.0-mini"]
    subprocess.run(command, cwd=CODE, check=True)
    for path in demo_infos.values():
        made, expected = load_infos(tmp_path / path.name), load_infos(path)
        assert [i["token"] for i in made.infos] == [i["token"] for i in expected.infos]
        assert made.infos[3]["forecasting_locs"].shape == (len(made.infos[3]["gt_boxes"]), 13, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--root-path", "{root}", "--version", "v1.0-mini"],
            ["no nuScenes v1.0-mini", "trainval"],
        ),
        (["--root-path", "/nowhere"], ["no nuScenes v1.0-trainval", "NUSCENES"]),
        (["--root-path", "{root}", "--version", "v2"], ["v2", "v1.0-mini"]),
    ],
)
def test_create_data_says_what_is_wrong(
    golden_dir: Path, arguments: list[str], words: list[str]
) -> None:
    root = str(golden_dir / "infos" / "nuscenes")
    command = [sys.executable, "tools/create_data.py", "nuscenes-tracking"]
    done = subprocess.run(
        [*command, *(a.format(root=root) for a in arguments)],
        cwd=CODE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image-size", "800"], "WIDTHxHEIGHT"),
        (["--scenes", "0"], "--scenes: a whole number from 1"),
        (["--scenes", "11", "--version", "v1.0-mini"], "has 10 scenes"),
        (["--workers", "0"], "--workers: a whole number from 1"),
        (["--version", "v2"], "v1.0-mini"),
    ],
)
def test_make_demo_data_says_what_is_wrong(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "tools/make_demo_data.py", str(tmp_path / "x"), *arguments],
        cwd=CODE, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_config_prints_the_expanded_file() -> None:
    command = [sys.executable, "-m", "pftrack.config", F3, "seed=5"]
    done = subprocess.run(command, cwd=CODE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    namespace: dict = {}
    exec(done.stdout, namespace)
    assert namespace["seed"] == 5 and namespace["model"]["img_neck"]["type"] == "CPFPN"


def test_download_checkpoints(tmp_path):
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "PF-Track-Models.zip").write_bytes(
        make_zip({"f3_all/final.pth": WEIGHTS, "f3_fullres_all/final.pth": WEIGHTS})
    )
    tool = [
        sys.executable,
        str(CODE / "tools/download_checkpoints.py"),
        "--to",
        str(tmp_path / "to"),
    ]
    env = {**os.environ, "PFTRACK_MIRRORS": str(tmp_path / "stick")}
    run = subprocess.run(
        [*tool, "--only", "f3_all,f3_fullres_all"], capture_output=True, text=True, env=env
    )
    assert run.returncode == 0, run.stderr
    assert "recorded  f3_all/final.pth" in run.stdout and "licence" in run.stdout
    run = subprocess.run([*tool, "--only", "f9"], capture_output=True, text=True)
    assert run.returncode == 2 and run.stderr.startswith("error: nothing published is called 'f9'")
    assert len(run.stderr.splitlines()) == 1


def test_inspect_checkpoint_reports_a_malicious_file_in_one_line(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/executed",)

    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {"w": torch.zeros(1)}, "meta": Evil()}, path)
    tool = [sys.executable, str(CODE / "tools/inspect_checkpoint.py"), str(path)]
    run = subprocess.run(tool, capture_output=True, text=True)
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1
    assert "refused" in run.stderr and not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.json"], "no results file 'nowhere.json'"),
        (["truth", "--dataroot", "nowhere"], "no nuScenes dataset in nowhere"),
        (["truth", "--format", "avi"], "unknown format 'avi'"),
        (["truth", "--fps", "0"], "--fps: a whole number from 1 to 240"),
        (["truth", "--camera-width", "1000000000000"], "--camera-width: a whole number from 64"),
        (["truth", "--min-score", "nan"], "--min-score: a number from 0 to 1 is wanted, not 'nan'"),
        (["truth", "--unheard-of"], "unrecognized arguments: --unheard-of (--help lists"),
        (["truth", "--frames", "0"], "--frames: a whole number from 1 is"),
    ],
)
def test_make_video_says_what_is_wrong(arguments, message):
    run = subprocess.run(
        [sys.executable, str(CODE / "tools/make_video.py"), *arguments],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2 and message in run.stderr and len(run.stderr.splitlines()) == 1


def test_make_video_draws_a_generated_scene(demo_data, demo_infos, tmp_path):
    """Results in the submission format against the annotations, as make video does it."""

    (scene,) = load_split(demo_data, "v1.0-mini", "val")
    results: dict[str, list] = {token: [] for token in scene.tokens}
    for t, token in enumerate(scene.tokens):
        boxes = scene.truth(t)
        assert len(boxes) and all(len(f) == 8 for f in boxes.forecast if f is not None)
        for i in range(len(boxes)):
            entry = {
                "sample_token": token, "tracking_id": boxes.ids[i], "tracking_score": 0.9,
                "tracking_name": boxes.names[i], "translation": boxes.center[i].tolist(),
                "size": boxes.size[i].tolist(), "rotation": boxes.rotation[i].tolist(),
                "velocity": [0, 0], "forecasting": boxes.forecast[i].tolist(),
            }  # fmt: skip
            results[token].append(entry)
    path = tmp_path / "results_nusc.json"
    path.write_text(json.dumps({"meta": {}, "results": results}))
    command = [sys.executable, str(CODE / "tools/make_video.py"), str(path), "--against", "truth"]
    command += ["--dataroot", str(demo_data), "--frames", "3", "--camera-width", "160"]
    run = subprocess.run([*command, "--format", "mp4,gif,png"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    listed = json.loads((tmp_path / "video" / "videos.json").read_text())
    assert listed[0]["scene"] == scene.name and listed[0]["frames"] == 3
    assert listed[0]["layers"][1] == "ground truth"
    for name in listed[0]["files"]:
        assert (tmp_path / "video" / name).exists()
    picture = cv2.imread(str(tmp_path / "video" / scene.name / "002.png"))
    above, below = np.split(picture, 2)
    # The same boxes drawn twice: apart from the titles and the scores the halves agree.
    same = (np.abs(above[HEADER:].astype(int) - below[HEADER:]) < 8).all(-1).mean()
    assert same > 0.97
