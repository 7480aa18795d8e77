"""``make video``: the pictures of a scene, one after the other, into files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pftrack.boxes import Boxes
from pftrack.files import atomic, safe_name
from pftrack.visualization.mosaic import Style, draw_frame, stack
from pftrack.visualization.rerun_stream import write_rrd
from pftrack.visualization.scenes import SceneFrames, boxes_of_samples
from pftrack.visualization.trails import History
from pftrack.visualization.video_file import write_gif, write_mp4, write_png

INDEX = "videos.json"


@dataclass
class Layer:
    """One set of boxes to draw: a results file or the ground truth.

    Attributes:
        title: shown in the header.
        boxes: sample token -> boxes.
    """

    title: str
    boxes: dict[str, Boxes]

    @classmethod
    def from_file(cls, path: Path, scenes: list[SceneFrames]) -> Layer:
        tokens = {token for scene in scenes for token in scene.tokens}
        return cls(f"{path.parent.name}/{path.stem}", boxes_of_samples(path, tokens))

    @classmethod
    def from_truth(cls, scenes: list[SceneFrames]) -> Layer:
        boxes = {s.infos[t]["token"]: s.truth(t) for s in scenes for t in range(len(s))}
        return cls("ground truth", boxes)


@dataclass
class Options:
    """How scenes are drawn and written.

    Attributes:
        formats: mp4, gif, png (every frame), rrd (a stream for Rerun).
        fps: frames per second of the video (key frames are 0.5 s apart).
        min_score: boxes below are left out.
        truth: outlines of the annotations.  lidar: points in the bird's-eye view.
        gif_width: px.  max_frames: stop early.
        style: see :class:`Style`.
    """

    formats: tuple[str, ...] = ("mp4",)
    fps: int = 4
    min_score: float = 0.2
    truth: bool = False
    lidar: bool = True
    gif_width: int = 960
    max_frames: int | None = None
    style: Style = field(default_factory=Style)


def scene_pictures(
    scene: SceneFrames, layers: list[Layer], options: Options
) -> Iterator[np.ndarray]:
    """The pictures of a scene; with two layers, the second one below the first."""
    histories = [History() for _ in layers]
    count = min(len(scene), options.max_frames or len(scene))
    for t in range(count):
        frame = scene.frame(t)
        lidar = scene.lidar(t) if options.lidar and options.style.bird else None
        truth = scene.truth(t) if options.truth else None
        seconds = frame.timestamp - scene.infos[0]["timestamp"] / 1e6
        pictures = []
        for layer, history in zip(layers, histories, strict=True):
            boxes = layer.boxes.get(frame.sample_token, Boxes.from_rows([]))
            boxes = boxes.select(boxes.scores >= options.min_score)
            history.update(boxes)
            title = (
                f"{scene.name}   {t + 1}/{count}   {seconds:4.1f} s   {len(boxes)} tracks   "
                f"{layer.title}"
            )
            pictures.append(draw_frame(frame, boxes, history, truth, lidar, title, options.style))
        yield stack(pictures)


def make_videos(
    scenes: list[SceneFrames], layers: list[Layer], out: Path, options: Options
) -> list[Path]:
    """Draw scenes and write ``out/<scene>.<format>`` and the list of them, ``out/videos.json``.

    Returns:
        the files written; for png, each scene's folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    index: list[dict[str, Any]] = []
    written: list[Path] = []
    for scene in scenes:
        total = min(len(scene), options.max_frames or len(scene))
        name = safe_name(scene.name)
        files: list[Path] = []
        drawn = tuple(kind for kind in options.formats if kind != "rrd")
        if drawn:
            pictures = tqdm(scene_pictures(scene, layers, options), desc=scene.name, total=total)
            files = _write(out, name, pictures, replace(options, formats=drawn))
        if "rrd" in options.formats:
            files.append(out / f"{name}.rrd")
            boxes = [layer.boxes for layer in layers]
            truth, frames = options.truth, options.max_frames
            write_rrd(files[-1], scene, boxes, options.min_score, truth, frames)
        written += files
        index.append(
            {
                "scene": scene.name,
                "frames": total,
                "layers": [layer.title for layer in layers],
                "files": [file.name for file in files],
            }
        )
    with atomic(out / INDEX) as file:
        file.write(json.dumps(index, indent=2) + "\n")
    return written


def write_readme_picture(
    path: Path, scene: SceneFrames, layers: list[Layer], options: Options, limit: int = 3_000_000
) -> None:
    """A scene as one GIF of fewer than ``limit`` bytes: as wide as fits."""
    pictures = list(scene_pictures(scene, layers, options))
    path.parent.mkdir(parents=True, exist_ok=True)
    for width in range(960, 320, -80):
        write_gif(path, pictures, options.fps, width)
        if path.stat().st_size < limit:
            return


def _write(out: Path, name: str, pictures: Iterator[np.ndarray], options: Options) -> list[Path]:
    if options.formats == ("mp4",):  # encoded as they come, nothing is kept
        write_mp4(out / f"{name}.mp4", pictures, options.fps)
        return [out / f"{name}.mp4"]
    kept = list(pictures)
    files = []
    for kind in options.formats:
        path = out / (name if kind == "png" else f"{name}.{kind}")
        if kind == "mp4":
            write_mp4(path, kept, options.fps)
        elif kind == "gif":
            write_gif(path, kept, options.fps, options.gif_width)
        else:
            path.mkdir(exist_ok=True)
            for t, picture in enumerate(kept):
                write_png(path / f"{t:03d}.png", picture)
        files.append(path)
    return files
