"""Streams for Rerun hold what is tracked, where it is; without Rerun there is one clear line."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pftrack import geometry
from pftrack.commands import view
from pftrack.errors import UserError
from pftrack.visualization import rerun_stream
from pftrack.visualization.scenes import load_split
from pftrack.visualization.video import Layer


class Recorder:
    """Stands for a stream: what was logged, by entity and frame."""

    def __init__(self) -> None:
        self.frame = -1
        self.logged: dict[tuple[str, int], list] = {}

    def set_time(self, timeline: str, **value: float) -> None:
        if timeline == "frame":
            self.frame = int(value["sequence"])

    def log(self, path: str, *what: object) -> None:
        self.logged.setdefault((path, self.frame), []).extend(what)


def columns(logged, name: str) -> np.ndarray:
    """A component of what was logged last, as an array."""
    (batch,) = (
        b for b in logged[-1].as_component_batches() if name in str(b.component_descriptor())
    )
    return np.array(batch.as_arrow_array().to_pylist())


def test_boxes_and_cameras_are_where_they_are(demo_data: Path, demo_infos: dict) -> None:
    pytest.importorskip("rerun", reason="Rerun is an optional part: make setup ARGS=rerun")
    scenes = load_split(demo_data, "v1.0-mini")
    stream, layer = Recorder(), Layer.from_truth(scenes).boxes
    rerun_stream.send_scene(stream, scenes[0], [layer], 0.2, truth=True, max_frames=3)  # type: ignore[arg-type]
    frames = {frame for _, frame in stream.logged}
    assert frames == {0, 1, 2}
    origin = scenes[0].frame(0).ego2global[:3, 3]
    truth = scenes[0].truth(2)
    logged = stream.logged["world/tracks/boxes", 2]
    assert np.abs(columns(logged, "centers") - (truth.center - origin)).max() < 1e-3
    assert np.abs(columns(logged, "half_sizes") * 2 - truth.size[:, [1, 0, 2]]).max() < 1e-4
    turned = columns(logged, "quaternions")[:, [3, 0, 1, 2]]
    yaw = geometry.yaw_from_quaternion(truth.rotation)
    assert np.abs(np.sin(geometry.yaw_from_quaternion(turned) - yaw)).max() < 1e-5
    camera = stream.logged["world/front", 2]
    pose = scenes[0].frame(2).camera_ego2global[0] @ scenes[0].frame(2).sensor2ego[0]
    (place,) = columns(camera[:1], "translation")
    assert np.abs(place - (pose[:3, 3] - origin)).max() < 1e-3
    assert ("world/truth", 2) in stream.logged and ("world/lidar", 2) in stream.logged


def test_file_is_one_that_rerun_reads(demo_data: Path, demo_infos: dict, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="Rerun is an optional part: make setup ARGS=rerun")
    scenes = load_split(demo_data, "v1.0-mini")
    path = tmp_path / "scene.rrd"
    layers = [Layer.from_truth(scenes).boxes] * 2
    rerun_stream.write_rrd(path, scenes[0], layers, 0.2, False, max_frames=2)
    assert [p.name for p in tmp_path.iterdir()] == ["scene.rrd"]
    command = [str(Path(sys.executable).with_name("rerun")), "rrd", "print", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for entity in ("/world/tracks/boxes", "/world/against/forecasts", "/world/back_left/image"):
        assert entity in done.stdout
    assert "/world/truth" not in done.stdout


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, demo_data: Path, demo_infos: dict) -> list[list[str]]:
    """Commands that would have started the viewer; without a screen, with or without Rerun."""
    commands: list[list[str]] = []

    def run(command: list[str | Path], **_: object) -> object:
        commands.append([str(word) for word in command])
        assert all(Path(word).read_text() == "scene" for word in command if "rrd" in str(word))
        raise KeyboardInterrupt  # Ctrl-C

    monkeypatch.setattr(rerun_stream, "require_rerun", lambda: None)
    monkeypatch.setattr(rerun_stream, "require", lambda *_: SimpleNamespace(__file__="/there/x.py"))
    monkeypatch.setattr(rerun_stream, "write_rrd", lambda path, *_: path.write_text("scene"))
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", ["view.py", "truth", "--dataroot", str(demo_data)])
    return commands


def test_without_a_screen_a_browser_of_this_machine_is_served(
    served: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    sys.argv += ["--port", str(port)]
    assert view.main() == 0
    (command,) = served
    assert command[0] == "/there/rerun"
    assert command[command.index("--bind") + 1] == "127.0.0.1"
    assert command[command.index("--web-viewer-port") + 1] == str(port)
    files = [word for word in command if word.endswith(".rrd")]
    assert len(files) == 1 and not Path(files[0]).parent.exists()
    source = f"rerun%2Bhttp%3A%2F%2F127.0.0.1%3A{port + 1}%2Fproxy"
    assert f"http://127.0.0.1:{port}/?url={source} " in capsys.readouterr().out


def test_a_taken_port_is_named_before_anything_is_written(served: list[list[str]]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        sys.argv += ["--port", str(port)]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 .*in use.*--port"):
            view.main()
    assert served == []


def test_without_rerun_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(UserError, match="make setup RUNTIME=native ARGS=rerun"):
        rerun_stream.require_rerun()
