"""What the notebooks share: which checkpoint and data, and how pictures are shown."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from pftrack.boxes import Boxes
from pftrack.errors import UserError
from pftrack.nuscenes.facts import FORECAST_STEPS, KEY_FRAME_SECONDS
from pftrack.nuscenes.versions import MINI, TRAINVAL, find_version
from pftrack.paths import CODE, REPOSITORY
from pftrack.visualization.scenes import (
    SceneFrames,
    find_infos,
    load_split,
)

if TYPE_CHECKING:
    from pftrack.evaluation.run import Evaluation

FAST = bool(os.environ.get("PFTRACK_NOTEBOOK_FAST"))
NOTEBOOKS = REPOSITORY / "notebooks"
# Frames of a scene and its images' size, generated.
_FRAMES, _SIZE = (16, "640x360") if FAST else (40, "800x450")
_STILL = (720, 70)  # width (px) and JPEG quality of the picture that stands for a slider


@dataclass
class Setting:
    """What a notebook works on.

    Attributes:
        config: configuration file.  checkpoint: weights.
        data_root: nuScenes folder.  version: nuScenes version.
        out: folder for what the notebook writes; made.
        max_frames: frames of a scene that are tracked.
    """

    config: str
    checkpoint: str
    data_root: Path
    version: str
    out: Path
    max_frames: int

    def __post_init__(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)

    def scenes(self, split: str = "val") -> list[SceneFrames]:
        """The scenes of a split."""
        return load_split(self.data_root, self.version, split)

    @property
    def overrides(self) -> list[str]:
        """``key=value`` changes that point the configuration to the data."""
        changes = [f"data_root={self.data_root}/"]
        for section in ("train", "val", "test"):
            split = "train" if section == "train" else "val"
            infos = find_infos(self.data_root, self.version, split)
            changes += [f"data.{section}.data_root={self.data_root}/"]
            changes += [f"data.{section}.ann_file={infos}"]
        return changes

    def load_config(self) -> Any:
        """The expanded configuration with :attr:`overrides`."""
        from pftrack.config import load_config

        return load_config(self.config, self.overrides)


def demo() -> Setting:
    """The demo checkpoint on generated data, which is made when it is not there.

    ``PFTRACK_NOTEBOOK_CHECKPOINT``, ``_CONFIG`` and ``_DATA`` (folder) choose something else
    without a change to the notebook.
    """
    checkpoint = os.environ.get("PFTRACK_NOTEBOOK_CHECKPOINT", "demo/f3_demo.pth")
    config = os.environ.get("PFTRACK_NOTEBOOK_CONFIG", "projects/configs/tracking/demo/f3_demo.py")
    if "PFTRACK_NOTEBOOK_DATA" in os.environ:
        return published(checkpoint, os.environ["PFTRACK_NOTEBOOK_DATA"], config=config)
    out = CODE / "work_dirs" / "notebooks" / ("fast" if FAST else "full")
    data = CODE / "work_dirs" / "demo" / "nuscenes"
    if FAST or not (data / MINI).is_dir() or not _has_infos(data):
        data = out / "nuscenes"
        _generate(data)
    return Setting(_in_code(config), checkpoint, data, MINI, out, _FRAMES)


def published(
    checkpoint: str = "f3_all/final.pth",
    data_root: str | Path = "data/nuscenes",
    version: str | None = None,
    config: str | None = None,
) -> Setting:
    """A published (or your own) checkpoint on real data.

    Args:
        checkpoint: absolute, relative, or below ``checkpoints/``.
        data_root: nuScenes folder, relative to ``code/``; info files in it or beside it.
        version: default: the one the folder has.
        config: default: the one that belongs to the checkpoint.

    Raises:
        UserError: no such checkpoint or data.
    """
    from pftrack.checkpoints.fit import config_of_checkpoint

    root = Path(data_root) if Path(data_root).is_absolute() else CODE / data_root
    found = find_version(root, version)
    if found is None:
        raise UserError(f"no nuScenes {version or f'{TRAINVAL} or {MINI}'} in '{root}'")
    chosen = _in_code(config) if config else str(config_of_checkpoint(checkpoint))
    out = CODE / "work_dirs" / "notebooks" / Path(checkpoint).stem
    return Setting(chosen, checkpoint, root, found, out, _FRAMES)


def track(
    tracker: Any, scene: SceneFrames, max_frames: int, observe: Any = None
) -> dict[str, Boxes]:
    """Track a scene with the streaming API: sample token -> boxes; ``observe``: of ``step``."""
    from tqdm.auto import tqdm

    tracker.reset()
    count = min(len(scene), max_frames)
    found = {}
    for t in tqdm(range(count), desc=scene.name):
        frame = scene.frame(t)
        found[frame.sample_token] = tracker.step_boxes(frame, observe=observe)
    return found


def forecast_errors(
    scene: SceneFrames, tracked: Mapping[str, Boxes], radius: float = 2.0
) -> dict[str, np.ndarray]:
    """Displacement errors of forecasts against the annotated future, with two baselines.

    Every tracked box is compared with the nearest annotated object, if it is within ``radius`` m.

    Returns:
        "forecast", "constant velocity", "standing still" -> [n, F] distances in m; NaN where the
        object's future is not annotated. "forecast" only where the model makes one.
    """
    steps = FORECAST_STEPS
    errors: dict[str, list[np.ndarray]] = {}
    for t in range(len(scene)):
        boxes = tracked.get(scene.infos[t]["token"])
        if boxes is None:
            break
        truth = scene.truth(t)
        future = np.full((len(truth), steps, 2), np.nan)
        for k in range(1, min(steps, len(scene) - 1 - t) + 1):
            later = scene.truth(t + k)
            place = {name: center for name, center in zip(later.ids, later.center, strict=True)}
            for i, name in enumerate(truth.ids):
                if name in place:
                    future[i, k - 1] = place[name][:2]
        for i in range(len(boxes)):
            distance = np.linalg.norm(truth.center[:, :2] - boxes.center[i, :2], axis=1)
            if not len(distance) or distance.min() > radius:
                continue
            goal = future[np.argmin(distance)]
            start = boxes.center[i, :2]
            seconds = KEY_FRAME_SECONDS * np.arange(1, steps + 1)[:, None]
            guesses = {"standing still": np.zeros((steps, 2))}
            if boxes.velocity is not None:
                guesses["constant velocity"] = boxes.velocity[i] * seconds
            forecast = boxes.forecast[i]
            if forecast is not None and len(forecast) >= steps:
                guesses["forecast"] = np.cumsum(forecast[:steps], axis=0)
            for name, moved in guesses.items():
                error = np.linalg.norm(start + moved - goal, axis=1)
                errors.setdefault(name, []).append(error)
    return {name: np.stack(rows) for name, rows in errors.items()}


def evaluate(setting: Setting, device: str) -> tuple[Path, Evaluation]:
    """Results file and metrics of the validation split; finished scenes are not run again."""
    from pftrack.checkpoints.reading import find_checkpoint
    from pftrack.evaluation.run import evaluate_file
    from pftrack.tracking.job import InferenceJob
    from pftrack.tracking.runner import run_inference

    checkpoint = str(find_checkpoint(setting.checkpoint))
    job = InferenceJob(setting.config, checkpoint, overrides=tuple(setting.overrides))
    run = run_inference(job, [device], setting.out / "eval", keep_scenes=True)
    evaluation = evaluate_file(run.result_path, setting.data_root, setting.version, "val")
    return run.result_path, evaluation


def training_runs() -> dict[str, Path]:
    """Work dirs of trainings by name: the demo's, or else two with logs beside the notebooks."""
    demo_dirs = {name: CODE / "work_dirs" / "demo" / name for name in ("f1", "f3")}
    if not FAST and all(any(folder.glob("*.log.json")) for folder in demo_dirs.values()):
        return demo_dirs
    return {folder.name: folder for folder in sorted((NOTEBOOKS / "example_training").iterdir())}


def _in_code(path: str) -> str:
    return path if Path(path).is_absolute() else str(CODE / path)


def _has_infos(data: Path) -> bool:
    try:
        find_infos(data, MINI, "val")
    except UserError:
        return False
    return True


def _generate(data: Path) -> None:
    from pftrack.commands.demo_stages import DEMO_VISIBILITY
    from pftrack.conversion.run import convert_folder

    command = [
        sys.executable,
        str(CODE / "tools" / "make_demo_data.py"),
        str(data),
        "--scenes",
        "2",
    ]
    command += ["--frames", str(_FRAMES), "--image-size", _SIZE, "--workers", "2"]
    command += ["--visibility", str(DEMO_VISIBILITY)]
    # What a notebook prints does not tell whether the data were there.
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    if not _has_infos(data):
        with contextlib.redirect_stdout(None):
            convert_folder(data, MINI, data.parent)


def jpeg(picture: np.ndarray, quality: int = 85) -> bytes:
    """A BGR picture as a JPEG file."""
    ok, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return data.tobytes()


def show(picture: np.ndarray, width: int | None = None) -> None:
    """Display a BGR picture in the notebook."""
    from IPython.display import Image, display

    display(Image(data=jpeg(picture), width=width))


def slider(
    pictures: Callable[[int], np.ndarray] | Sequence[np.ndarray],
    count: int | None = None,
    caption: Callable[[int], str] = lambda frame: "",
) -> None:
    """Frames with a slider and a play button; where no kernel runs, the one in the middle.

    Args:
        pictures: BGR pictures, or a function that draws one by its number.
        count: how many; not needed for a sequence.
        caption: a line above a picture, by its number.
    """
    import ipywidgets as widgets
    from IPython.display import display

    total = count if callable(pictures) else len(pictures)
    assert total
    draw = pictures if callable(pictures) else pictures.__getitem__
    image, text = widgets.Image(format="jpeg"), widgets.Label()
    frame = widgets.IntSlider(0, 0, total - 1, description="frame")
    play = widgets.Play(min=0, max=total - 1, interval=500)
    widgets.jslink((play, "value"), (frame, "value"))

    def update(number: int) -> None:
        image.value = jpeg(draw(number))
        text.value = caption(number)

    frame.observe(lambda change: update(change["new"]), "value")
    update(0)
    box = widgets.VBox([widgets.HBox([play, frame]), text, image])
    middle = draw(total // 2)
    width, quality = _STILL
    if middle.shape[1] > width:
        height = round(middle.shape[0] * width / middle.shape[1])
        middle = cv2.resize(middle, (width, height), interpolation=cv2.INTER_AREA)
    still = base64.b64encode(jpeg(middle, quality)).decode()
    display({**box._repr_mimebundle_(), "image/jpeg": still}, raw=True)
