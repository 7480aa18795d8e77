"""The compose files as a compose reads them: what reaches the services. No container is started."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
import yaml

from pftrack.paths import REPOSITORY


def answers(*command: str) -> bool:
    """Can it be called, and does it end well?"""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True).returncode == 0


COMPOSE = next(
    (
        command
        for command in (["docker", "compose"], ["docker-compose"], ["podman-compose"])
        # podman-compose before 1.0.4 knows no `config`, Docker without its plugin no `compose`
        if answers(*command, "version") and answers(*command, "config", "--help")
    ),
    [],
)
pytestmark = pytest.mark.skipif(not COMPOSE, reason="no compose with 'config' is installed")


def services(*files: str, **variables: str) -> dict:
    """The services of these files, merged."""
    options = [word for file in files for word in ("-f", str(REPOSITORY / file))]
    env = {"PATH": os.environ["PATH"], "HOME": "/tmp", "PROJECT_DIR": "/p", **variables}
    command = [*COMPOSE, *options, "config"]
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["services"]


def environment(service: dict) -> dict[str, str | None]:
    """Its variables, however that compose prints them; None: as outside."""
    found = service["environment"]
    if isinstance(found, list):
        found = {
            name: value if is_set else None
            for name, is_set, value in (x.partition("=") for x in found)
        }
    return found


@pytest.mark.parametrize("gpus", ["compose.gpu.yaml", "compose.podman-gpu.yaml"])
def test_infiniband_comes_with_its_devices_and_settings(gpus: str):
    settings = {"NCCL_IB_HCA": "mlx5_0", "NCCL_IB_GID_INDEX": "3", "NCCL_SOCKET_IFNAME": "ib0"}
    found = services("compose.yaml", gpus, "compose.ib.yaml", NNODES="2", **settings)
    for name, service in found.items():
        outside = environment(service)
        if name in ("train", "eval", "test"):
            assert any("/dev/infiniband" in str(each) for each in service["devices"])
            for variable, value in settings.items():
                assert outside[variable] in (None, value)
            assert service["ulimits"]["memlock"] in (-1, "-1")
        else:
            assert "/dev/infiniband" not in str(service.get("devices"))
            assert not {variable for variable in outside if variable.startswith("NCCL_")}
        # what the files below say stays
        assert outside["NNODES"] == "2" and outside["PYTHONPATH"] == "/p/code"
        assert service["ulimits"]["stack"] == 67108864
