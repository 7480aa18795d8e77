"""RUNTIME=podman: which engine and which compose are taken, and what they are told.

Podman is a stand-in that writes down its calls; real containers: `make test-images RUNTIME=podman`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pftrack.paths import REPOSITORY

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

FAKE = """#!/bin/bash
nodes="$NNODES $NODE_RANK $MASTER_ADDR $MASTER_PORT $LOCAL_ADDR $NETWORK_MODE"
printf '%s\\n' "$(basename "$0") $* nodes=$nodes userns=${USERNS_MODE:-}" >>"$CALLS"
case "$(basename "$0") $1" in
  'docker info') exit "${NO_DOCKER:-0}" ;;
  'podman info') exit "${NO_PODMAN:-0}" ;;
  *' compose') exit 1 ;;
  'podman-compose --version') echo "podman-compose version ${COMPOSE_VERSION:-1.5.0}" ;;
  'docker --version') echo "${DOCKER:-Docker} version 28" ;;
esac
"""


@pytest.fixture
def make(tmp_path: Path):
    """Runs make in a copy of the project with stand-ins; returns (result, calls)."""
    root, folder, calls = tmp_path / "project", tmp_path / "bin", tmp_path / "calls"
    for name in ("scripts", "docker"):
        shutil.copytree(REPOSITORY / name, root / name)
    for path in [REPOSITORY / "Makefile", *REPOSITORY.glob("compose*.yaml")]:
        shutil.copy(path, root)
    (root / "code").mkdir()
    (root / "scripts" / "setup_native.sh").write_text("#!/bin/sh\necho native >&2\nexit 3\n")
    folder.mkdir()
    for name in ("docker", "docker-compose", "podman", "podman-compose"):
        (folder / name).write_text(FAKE)
        (folder / name).chmod(0o755)

    def call(*arguments: str, **variables: str):
        calls.write_text("")
        env = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": "/tmp", "CALLS": str(calls)}
        env |= {"CUDA_VISIBLE_DEVICES": "", **variables}
        done = subprocess.run(
            ["make", *arguments], cwd=root, env=env, capture_output=True, text=True
        )
        return done, calls.read_text()

    return call


@pytest.mark.parametrize(
    ("variables", "runtime"),
    [
        ({}, "docker"),
        ({"NO_DOCKER": "1"}, "podman"),
        ({"DOCKER": "podman"}, "podman"),  # the package podman-docker
        ({"NO_DOCKER": "1", "NO_PODMAN": "1"}, "native"),
        ({"NO_DOCKER": "1", "COMPOSE_VERSION": "1.0.3"}, "native"),
    ],
)
def test_auto_takes_docker_then_a_podman_that_can_then_neither(make, variables, runtime):
    done, _ = make("test", **variables)
    assert f"runtime: {runtime} (" in done.stderr, done.stderr


def test_podman_is_told_whose_the_results_are_and_where_files_lie(make, tmp_path: Path):
    checkpoint = tmp_path / "elsewhere" / "a.pth"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    done, calls = make("inspect", f"CKPT={checkpoint}", "RUNTIME=podman", NCCL_DEBUG="INFO")
    assert done.returncode == 0, done.stderr
    run = calls.splitlines()[-1]
    root = tmp_path / "project"
    files = f"-f {root}/compose.yaml -f {root}/compose.podman.yaml run --rm"
    assert run.startswith(f"podman-compose --in-pod=false {files} ")
    assert f"-v {checkpoint.parent}:{checkpoint.parent}:ro eval python" in run
    assert "-e NCCL_DEBUG=INFO" in run
    assert run.endswith(f"userns={'host' if os.getuid() == 0 else 'keep-id'}")


def test_where_machines_meet_goes_from_make_to_the_container(make):
    words = ["NNODES=2", "NODE_RANK=1", "MASTER_ADDR=h0", "MASTER_PORT=123", "LOCAL_ADDR=10.0.0.2"]
    done, calls = make("train-f1", "GPUS=0", "RUNTIME=podman", *words, JOIN_TIMEOUT="60")
    assert done.returncode == 0, done.stderr
    run = calls.splitlines()[-1]
    assert " nodes=2 1 h0 123 10.0.0.2 host " in run and "-e JOIN_TIMEOUT=60 " in run
    environment = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["x-service"]
    for name in ("NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "LOCAL_ADDR"):
        assert environment["environment"][name].startswith(f"${{{name}:-")
    done, _ = make("train-f1", "GPUS=0", "MASTER_PORT=70000")
    assert done.returncode == 2 and "MASTER_PORT=70000: must be between" in done.stderr


def test_what_podman_lacks_is_one_line(make):
    for variables, says in (
        ({"NO_PODMAN": "1"}, "RUNTIME=podman: no Podman engine answers here ('podman info')"),
        ({"COMPOSE_VERSION": "1.0.3"}, "neither 'podman compose' nor podman-compose 1.1 or newer"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "its Podman engine has no NVIDIA container toolkit"),
    ):
        done, calls = make("test", "RUNTIME=podman", **variables)
        assert done.returncode == 2 and " run " not in calls
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and says in errors[0]


def test_podman_builds_and_pulls(make):
    _, calls = make("build", "RUNTIME=podman", "BASE_IMAGE=debian@sha256:0")
    assert "podman build --format docker --file " in calls and "--build-arg BASE_IMAGE" in calls
    _, calls = make("setup", "RUNTIME=podman", "IMAGE=ghcr.example.com/team/pf-track:1")
    assert "podman pull ghcr.example.com/team/pf-track:1" in calls


def test_every_service_has_its_part_for_podman():
    def services(name: str) -> dict:
        return yaml.safe_load((REPOSITORY / name).read_text())["services"]

    assert set(services("compose.podman.yaml")) == set(services("compose.yaml"))
    for service in services("compose.podman.yaml").values():
        assert "label=disable" in service["security_opt"]
    gpus = services("compose.podman-gpu.yaml")
    assert set(gpus) == set(services("compose.gpu.yaml"))
    assert all(service["devices"] == ["nvidia.com/gpu=all"] for service in gpus.values())
