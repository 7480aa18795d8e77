"""JupyterLab as make jupyter starts it: only with its token, with the project importable."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from ports import free_port

from pftrack.paths import REPOSITORY

TOKEN = "a-token-for-the-test"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Base address of a running server, and its environment."""
    if shutil.which("jupyter", path=Path(sys.executable).parent) is None:
        pytest.skip("JupyterLab is not installed")
    home = tmp_path_factory.mktemp("home")
    port = free_port()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY / "code"),
        "HOME": str(home),
        "JUPYTER_TOKEN": TOKEN,
        "PORT": str(port),
        "NETWORK_MODE": "none",
    }
    command = [str(REPOSITORY / "scripts/jupyter.sh")]
    if os.geteuid() == 0:
        command.append("--allow-root")
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        health = [str(REPOSITORY / "scripts/jupyter_health.sh")]
        for _ in range(600):
            if process.poll() is not None:
                pytest.fail(f"JupyterLab ended: {(home / 'log').read_text()}")
            if subprocess.run(health, env=environment, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", environment
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def status(url: str, token: str | None = None, data: bytes | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=data)
    if token:
        request.add_header("Authorization", f"token {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read()


def test_answers_only_with_the_token(lab):
    base, _ = lab
    for token in (None, "wrong"):
        assert status(f"{base}/api/contents", token)[0] == 403
        assert status(f"{base}/api/kernels", token, b"{}")[0] == 403
    code, answer = status(f"{base}/api/contents", TOKEN)
    assert code == 200
    assert {entry["name"] for entry in json.loads(answer)["content"]} >= {"01_walkthrough.ipynb"}


def test_listens_on_this_machine_only(lab):
    port = int(lab[0].rsplit(":", 1)[1])
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == "0A" and int(local.rsplit(":", 1)[1], 16) == port:
                listening.append(local.rsplit(":", 1)[0])
    assert listening == ["0100007F"]  # 127.0.0.1


def test_health_check_fails_when_nothing_answers(lab):
    environment = {**lab[1], "PORT": str(free_port())}
    health = [str(REPOSITORY / "scripts/jupyter_health.sh")]
    assert subprocess.run(health, env=environment, capture_output=True).returncode != 0


def page(url: str, folder: Path) -> str:
    """What a browser shows: the document after its scripts ran."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={folder}", "--virtual-time-budget=20000", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=300).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_browser_opens_the_lab_with_the_token_and_not_without(lab, tmp_path):
    base, _ = lab
    opened = page(f"{base}/lab?token={TOKEN}", tmp_path / "a")
    assert "jp-LabShell" in opened and "01_walkthrough.ipynb" in opened
    refused = page(f"{base}/lab", tmp_path / "b")
    assert "jp-LabShell" not in refused and 'name="password"' in refused


def test_kernel_imports_the_project(lab, tmp_path):
    """The kernel that a notebook of the lab gets, with the server's environment."""
    _, environment = lab
    notebook = tmp_path / "n.ipynb"
    cell = {
        "cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [],
        "source": "import pftrack as p; print(p.__name__)", "id": "a",
    }  # fmt: skip
    notebook.write_text(
        json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    run = subprocess.run(
        [str(Path(sys.executable).with_name("jupyter")), "execute", "--inplace", str(notebook)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "pftrack" in notebook.read_text()
