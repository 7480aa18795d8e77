"""What the doctor says of machines that are not this one."""

from __future__ import annotations

import hashlib
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from pftrack import devices
from pftrack.commands import doctor
from pftrack.commands.doctor import Finding
from pftrack.devices import Gpus
from pftrack.nuscenes.versions import SPLITS, info_file_name
from pftrack.paths import REPOSITORY

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def smi(monkeypatch):
    """Sets what nvidia-smi answers, by field."""

    def answers(**fields):
        monkeypatch.setattr(doctor, "nvidia_smi", lambda field: fields.get(field.split(",")[0], []))

    return answers


@pytest.mark.parametrize(
    ("version", "state", "says"),
    [
        ("580.159.04", "ok", "580.159.04, for CUDA=13"),
        ("550.54.14", "ok", "550.54.14, for CUDA=12"),
        ("470.256.02", "WRONG", "470.256.02 is too old: install 525 or newer (580 for CUDA 13)"),
    ],
)
def test_driver(smi, version, state, says):
    smi(driver_version=[version, version])
    assert doctor.driver() == [Finding("driver", says, state)]


def test_a_machine_without_gpus_and_one_whose_driver_is_broken(smi, monkeypatch):
    smi()
    monkeypatch.setattr(doctor, "machine_has_gpus", lambda: False)
    (found,) = doctor.driver()
    assert found.state == "ok" and "everything runs on the CPU (GPUS=0)" in found.text
    monkeypatch.setattr(doctor, "machine_has_gpus", lambda: True)
    (found,) = doctor.driver()
    assert found.state == "WRONG" and "nvidia-smi does not answer" in found.text


def test_gpus_are_listed_and_pytorch_says_whether_it_can_use_them(smi, monkeypatch):
    smi(name=["NVIDIA H100 80GB HBM3, 9.0, 81559 MiB"])
    monkeypatch.setattr(doctor, "find_gpus", lambda: Gpus((0,)))
    gpu, pytorch = doctor.gpus()
    assert gpu.text == "NVIDIA H100 80GB HBM3, compute capability 9.0, 81559 MiB"
    assert pytorch.state == "ok" and pytorch.text.endswith("1 GPU(s)")
    monkeypatch.setattr(doctor, "find_gpus", lambda: Gpus((), "its driver is too old: do this"))
    assert doctor.gpus()[1] == Finding("PyTorch", "its driver is too old: do this", "WRONG")


@pytest.mark.parametrize(
    ("answers", "gpu", "runtime", "state", "says"),
    [
        ({}, False, "auto", "ok", "make runs natively"),
        ({}, False, "docker", "WRONG", "RUNTIME=native"),
        ({"docker info": ""}, False, "auto", "WRONG", "neither 'docker compose'"),
        ({"docker info": "", "docker compose": "v2"}, False, "auto", "ok", "runs in containers"),
        ({"docker info": "", "docker compose": "v2"}, True, "auto", "WRONG", "container toolkit"),
        ({"docker info": "{nvidia", "docker compose": "v2"}, True, "auto", "ok", "in containers"),
        ({"docker info": ""}, True, "native", "ok", "RUNTIME=native runs without it"),
    ],
)
def test_docker(smi, monkeypatch, answers, gpu, runtime, state, says):
    smi(index=["0"] if gpu else [])
    monkeypatch.setenv("RUNTIME", runtime)
    monkeypatch.setattr(doctor, "_answer", lambda *words: answers.get(" ".join(words[:2])))
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    (found,) = doctor.docker()
    assert found.state == state and says in found.text


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A project with the locks and no environment."""
    shutil.copytree(REPOSITORY / "docker", tmp_path / "docker")
    monkeypatch.setattr(doctor, "REPOSITORY", tmp_path)
    return tmp_path


def test_the_environment_is_the_locks_or_says_what_will_happen(repository):
    assert doctor.environment()[0].state == "todo"
    stamp = repository / ".venv" / ".locked"
    stamp.parent.mkdir()
    files = [repository / "docker" / f"{n}.lock" for n in ("requirements-cuda12", "installer")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    stamp.write_text(f"{digest} 3.13 12\n")
    (found,) = doctor.environment()
    assert found.state == "ok" and "requirements-cuda12.lock has it (CUDA=12)" in found.text
    stamp.write_text(f"{digest} 3.13 13\n")
    (found,) = doctor.environment()
    assert found.state == "todo" and "makes it anew" in found.text


def test_packages_that_are_not_as_locked(monkeypatch):
    installed = {"numpy": "1.26.4", "Pillow": "13.0.0", "torch": "2.11.0+cu130", "mine": "1"}
    installed["opencv-python"] = "4.11.0.86"
    Package = namedtuple("Package", "metadata version")
    packages = [Package({"Name": name}, version) for name, version in installed.items()]
    monkeypatch.setattr(doctor.metadata, "distributions", lambda: packages)
    wrong = doctor._other_than_locked((REPOSITORY / "docker" / "requirements.lock").read_text())
    assert wrong == ["numpy 1.26.4", "opencv-python (over opencv-python-headless)"]


def test_disk_and_shared_memory(repository, monkeypatch):
    free = {str(repository): 8e9, "/dev/shm": 64e6}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free[str(path)]))
    assert doctor.disk()[0].state == "WRONG"
    (repository / ".venv").mkdir()
    (repository / ".venv" / ".locked").touch()
    assert doctor.disk()[0].state == "todo"
    if Path("/dev/shm").is_dir():
        shm = doctor.memory()[-1]
        assert shm.state == "WRONG" and "data.workers_per_gpu=0" in shm.text
        free["/dev/shm"] = 16e9
        assert doctor.memory()[-1] == Finding("/dev/shm", "16.0 GB free")


def test_data(tmp_path):
    (found,) = doctor.data(tmp_path)
    assert found.state == "todo" and "make demo" in found.text
    (tmp_path / "v1.0-mini").mkdir()
    (found,) = doctor.data(tmp_path)
    assert found.state == "WRONG" and "no maps and no samples" in found.text
    (tmp_path / "maps").mkdir()
    (tmp_path / "samples").mkdir()
    (found,) = doctor.data(tmp_path)
    assert found.state == "todo" and "'make data VERSION=v1.0-mini'" in found.text
    for split in SPLITS["v1.0-mini"]:
        (tmp_path / info_file_name("v1.0-mini", split)).touch()
    assert [f.state for f in doctor.data(tmp_path)] == ["ok"]


def test_something_in_the_way_is_status_1(monkeypatch, capsys):
    looks = ("driver", "gpus", "docker", "python", "environment", "disk", "memory", "checkpoints")
    for look in looks:
        monkeypatch.setattr(doctor, look, lambda: [])
    monkeypatch.setattr(doctor, "data", lambda _folder: [Finding("data", "none", "todo")])
    assert doctor.main([]) == 0
    assert capsys.readouterr().out.endswith("nothing in the way\n")
    monkeypatch.setattr(doctor, "disk", lambda: [Finding("disk", "full: make room", "WRONG")])
    assert doctor.main([]) == 1
    assert "WRONG  disk" in capsys.readouterr().out


def test_what_a_machine_has_is_what_its_devices_and_driver_say(monkeypatch):
    monkeypatch.setattr(devices, "nvidia_smi", lambda _field: ["0"])
    assert devices.machine_has_gpus()
