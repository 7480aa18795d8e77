"""make watch: TensorBoard answers on this machine only, with the layout of a training's curves."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from ports import free_port

from pftrack.live import FOLDER, LiveScalars
from pftrack.paths import REPOSITORY


def test_page_has_the_curves_in_their_layout(tmp_path):
    scalars = LiveScalars(tmp_path / "a training" / FOLDER)
    scalars.add({"train/loss": 3.0, "progress/hours_left": 1.5}, 20)
    scalars.close()
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PORT": str(port), "PATH": path, "NETWORK_MODE": "none"}
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [str(REPOSITORY / "scripts/watch.sh"), str(tmp_path)],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def get(address):
        for _ in range(600):
            if server.poll() is not None:
                pytest.fail(f"TensorBoard ended: {(tmp_path / 'log').read_text()}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/{address}") as answer:
                    found = json.load(answer)
            except urllib.error.URLError:
                found = None
            if found:
                return found
            time.sleep(0.1)
        pytest.fail((tmp_path / "log").read_text())

    try:
        assert get("runs") == [f"a training/{FOLDER}"]
        layout = get("plugin/custom_scalars/layout")
        assert [c["title"] for c in layout["category"]] == [
            *("progress", "training", "speed", "evaluation"),
        ]
        tags = get("plugin/scalars/tags")[f"a training/{FOLDER}"]
        assert set(tags) == {"train/loss", "progress/hours_left"}
        assert f"http://127.0.0.1:{port}/#custom_scalars" in (tmp_path / "log").read_text()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
