"""Scenes as streams for Rerun: cameras, lidar, boxes, histories and forecasts over time.

Rerun is large and an optional group of the lock (docker/rerun.in), so it is imported here only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from PIL import Image
from tqdm import tqdm

from pftrack import geometry
from pftrack.boxes import Boxes
from pftrack.errors import UserError
from pftrack.extras import require
from pftrack.files import atomic_path
from pftrack.frames import Frame
from pftrack.ports import demand_free
from pftrack.processes import end_with_parent
from pftrack.visualization.rig import camera_names, layout
from pftrack.visualization.scenes import SceneFrames
from pftrack.visualization.trails import History, track_color

if TYPE_CHECKING:
    from rerun import RecordingStream

_APPLICATION = "pftrack"
_HERE = "127.0.0.1"
_NAMES = ("tracks", "against")
_ELSEWHERE = "'make video FORMAT=rrd' writes files that it opens elsewhere"
_TRUTH = (235, 235, 235)
_LIDAR = (140, 150, 165)


def require_rerun() -> Any:
    """Rerun's module.

    Raises:
        UserError: it is not installed.
    """
    return require("rerun", "rerun", "a Rerun stream")


def write_rrd(
    path: Path,
    scene: SceneFrames,
    layers: Sequence[Mapping[str, Boxes]],
    min_score: float,
    truth: bool,
    max_frames: int | None = None,
) -> None:
    """Write a scene as a file that Rerun's viewer opens; the arguments are :func:`send_scene`'s."""
    rerun = require_rerun()
    stream = rerun.RecordingStream(_APPLICATION, recording_id=scene.name)
    with atomic_path(path) as temporary:
        stream.save(str(temporary), default_blueprint=_blueprint(scene.frame(0)))
        send_scene(stream, scene, layers, min_score, truth, max_frames)
        stream.disconnect()


def has_screen() -> bool:
    """Whether a window can open here."""
    return sys.platform != "linux" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def open_viewer(
    scenes: Sequence[SceneFrames],
    layers: Sequence[Mapping[str, Boxes]],
    min_score: float,
    truth: bool,
    max_frames: int | None = None,
) -> None:
    """Start Rerun's viewer and send it the scenes, a recording for each.

    Raises:
        UserError: the viewer cannot start here.
    """
    rerun = require_rerun()
    for number, scene in enumerate(scenes):
        stream = rerun.RecordingStream(_APPLICATION, recording_id=scene.name)
        try:
            if number == 0:
                rerun.spawn(recording=stream, default_blueprint=_blueprint(scene.frame(0)))
            else:
                stream.connect_grpc()
            send_scene(stream, scene, layers, min_score, truth, max_frames)
            stream.flush()
        except RuntimeError as error:
            raise UserError(
                "Rerun's viewer does not answer: --browser serves it to a browser instead"
            ) from error


def serve_viewer(
    scenes: Sequence[SceneFrames],
    layers: Sequence[Mapping[str, Boxes]],
    min_score: float,
    truth: bool,
    max_frames: int | None = None,
    port: int = 9090,
) -> None:
    """Serve Rerun's viewer with the scenes to browsers of this machine, until Ctrl-C.

    Args:
        port: of the page, on 127.0.0.1; the scenes come from the next one.

    Raises:
        UserError: a port is taken, or the viewer ends by itself.
    """
    require_rerun()
    for number in (port, port + 1):
        what = f"port {number} of {_HERE} (the viewer needs two)"
        demand_free(number, what, "--port names others", _HERE)
    with tempfile.TemporaryDirectory(prefix="pftrack_view_") as folder:
        files = [Path(folder) / f"{number:04d}.rrd" for number in range(len(scenes))]
        for file, scene in zip(files, scenes, strict=True):
            write_rrd(file, scene, layers, min_score, truth, max_frames)
        # The program itself: 'python -m rerun' starts it as a child, which would outlive this.
        program = Path(require("rerun_cli", "rerun", "Rerun's viewer").__file__).with_name("rerun")
        command = [str(program), "--serve-web", "--bind", _HERE]
        command += ["--web-viewer-port", str(port), "--port", str(port + 1)]
        command += ["--server-memory-limit", "50%"]  # what does not fit is missing, oldest first
        quiet = {"RUST_LOG": "warn", **os.environ}
        source = quote(f"rerun+http://{_HERE}:{port + 1}/proxy", safe="")
        print(f"Rerun: http://{_HERE}:{port}/?url={source}   (Ctrl-C ends it)", flush=True)
        with suppress(KeyboardInterrupt):
            status = subprocess.run(
                [*command, *files], env=quiet, check=False, preexec_fn=end_with_parent
            ).returncode
            raise UserError(f"Rerun's viewer ended by itself with status {status}; {_ELSEWHERE}")


def send_scene(
    stream: RecordingStream,
    scene: SceneFrames,
    layers: Sequence[Mapping[str, Boxes]],
    min_score: float,
    truth: bool,
    max_frames: int | None = None,
) -> None:
    """Log the frames of a scene; places are in the global frame's axes, m from where it begins.

    Args:
        layers: sample token -> boxes; the first is ``world/tracks``, a second ``world/against``.
        min_score: boxes below are left out.
        truth: the annotations, too.  max_frames: stop early.
    """
    rerun = require_rerun()
    named = [(name, layer, History()) for name, layer in zip(_NAMES, layers, strict=False)]
    origin = np.asarray(scene.frame(0).ego2global)[:3, 3]
    for t in tqdm(range(min(len(scene), max_frames or len(scene))), desc=scene.name, unit="frame"):
        frame = scene.frame(t)
        stream.set_time("frame", sequence=t)
        stream.set_time("time", duration=frame.timestamp - scene.infos[0]["timestamp"] / 1e6)
        _send_sensors(stream, scene, frame, t, origin)
        for name, layer, history in named:
            boxes = layer.get(frame.sample_token, Boxes.from_rows([]))
            boxes = boxes.select(boxes.scores >= min_score)
            history.update(boxes)
            colors = [track_color(i)[::-1] for i in boxes.ids]
            labels = [
                f"{i.split('-')[-1]} {kind} {score:.2f}"
                for i, kind, score in zip(boxes.ids, boxes.names, boxes.scores, strict=True)
            ]
            stream.log(f"world/{name}/boxes", _boxes(boxes, origin, colors, labels))
            past = [history.path(i) - origin for i in boxes.ids]
            future = [boxes.forecast_path(i) - origin for i in range(len(boxes))]
            stream.log(f"world/{name}/histories", rerun.LineStrips3D(past, colors=colors))
            stream.log(f"world/{name}/forecasts", rerun.LineStrips3D(future, colors=colors))
        if truth:
            found = scene.truth(t)
            stream.log("world/truth", _boxes(found, origin, [_TRUTH] * len(found), found.names))


def _send_sensors(
    stream: RecordingStream, scene: SceneFrames, frame: Frame, t: int, origin: np.ndarray
) -> None:
    rerun = require_rerun()
    camera2global = np.asarray(frame.camera_ego2global) @ np.asarray(frame.sensor2ego)
    for camera, image in enumerate(frame.images):
        path, pose = f"world/{_camera_name(frame, camera)}", camera2global[camera]
        stream.log(path, rerun.Transform3D(translation=pose[:3, 3] - origin, mat3x3=pose[:3, :3]))
        file = Path(str(image))
        if image is not None and file.is_file():
            with Image.open(file) as opened:
                size = opened.size
            pinhole = rerun.Pinhole(image_from_camera=frame.intrinsics[camera], resolution=size)
            stream.log(path, pinhole)
            stream.log(f"{path}/image", rerun.EncodedImage(path=file))
    ego = np.asarray(frame.ego2global)
    pose = rerun.Transform3D(translation=ego[:3, 3] - origin, mat3x3=ego[:3, :3])
    stream.log("world/vehicle", pose, rerun.TransformAxes3D(axis_length=3.0))
    points = scene.lidar(t)
    if points is not None:
        lidar2global = ego @ np.asarray(frame.lidar2ego)
        places = geometry.transform_points(points[:, :3].astype(np.float64), lidar2global)
        stream.log("world/lidar", rerun.Points3D(places - origin, colors=[_LIDAR], radii=[0.03]))


def _camera_name(frame: Frame, camera: int) -> str:
    """The camera's part of a path; what a path may not hold is escaped."""
    name = camera_names(len(frame.images), frame.cameras)[camera]
    return require_rerun().escape_entity_path_part(name.removeprefix("CAM_").lower())


def _boxes(boxes: Boxes, origin: np.ndarray, colors: Sequence[Any], labels: Sequence[str]) -> Any:
    return require_rerun().Boxes3D(
        centers=boxes.center - origin,
        half_sizes=boxes.size[:, [1, 0, 2]] / 2,  # x is the box's length
        quaternions=boxes.rotation[:, [1, 2, 3, 0]],  # Rerun's order is x, y, z, w
        colors=colors,
        labels=labels,
        show_labels=False,
    )


def _blueprint(frame: Frame) -> Any:
    """The scene beside the cameras, with the boxes in each."""
    import rerun.blueprint as rrb

    rows = layout(camera_names(len(frame.images), frame.cameras), np.asarray(frame.sensor2ego))
    around = [_camera_name(frame, camera) for row in rows for camera in row if camera is not None]
    over = [*(f"world/{name}/**" for name in _NAMES), "world/truth"]
    cameras = [
        rrb.Spatial2DView(origin=f"world/{name}", contents=["$origin/**", *over], name=name)
        for name in around
    ]
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Spatial3DView(origin="world", name="scene"),
            rrb.Grid(*cameras, grid_columns=3),
            column_shares=[2, 3],
        ),
        collapse_panels=True,
    )
