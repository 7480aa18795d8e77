"""Files of the image that can be tried without building it: the bill of materials, InfiniBand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pftrack.paths import REPOSITORY

DOCKER = REPOSITORY / "docker"


def bill_of(packages: Path, *locks: Path) -> bytes:
    """What docker/sbom.py prints where these packages are installed, and no others."""
    command = [sys.executable, "-S", str(DOCKER / "sbom.py"), *map(str, locks)]
    env = {**os.environ, "PYTHONPATH": str(packages)}
    return subprocess.run(command, check=True, capture_output=True, env=env).stdout


def install(folder: Path, name: str, version: str, code: str) -> Path:
    """A package of one module, as an installer leaves it; the module's file."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "INSTALLER").write_text("someone")
    module = folder / f"{name}.py"
    module.write_text(code)
    files = [module.name, f"{info.name}/METADATA", f"{info.name}/INSTALLER"]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    return module


def test_the_bill_of_materials_lists_packages_with_the_locks_hashes(tmp_path: Path):
    install(tmp_path / "site", "Some_Package", "1.5", "")
    install(tmp_path / "site", "other", "2", "")
    lock = tmp_path / "a.lock"
    hashes = ["b" * 64, "a" * 64]
    lines = " \\\n".join(f"    --hash=sha256:{each}" for each in hashes)
    lock.write_text(f"some-package==1.5 ; marker \\\n{lines}\nabsent==1 \\\n{lines}\n")
    first = bill_of(tmp_path / "site", lock, lock)
    assert first == bill_of(tmp_path / "site", lock)
    bill = json.loads(first)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    components = {entry["bom-ref"]: entry for entry in bill["components"]}
    assert len(components) == len(bill["components"])
    python = {purl for purl in components if purl.startswith("pkg:pypi/")}
    assert python == {"pkg:pypi/some-package@1.5", "pkg:pypi/other@2"}
    (reference,) = components["pkg:pypi/some-package@1.5"]["externalReferences"]
    assert [each["content"] for each in reference["hashes"]] == sorted(hashes)
    assert "externalReferences" not in components["pkg:pypi/other@2"]


@pytest.mark.slow
def test_the_bill_of_materials_tells_by_content_what_is_installed(tmp_path: Path):
    def installed(site: Path) -> dict[str, str]:
        bill = json.loads(bill_of(site))["components"]
        return {
            entry["name"]: entry["properties"][0]["value"]
            for entry in bill
            if "properties" in entry
        }

    here, there = tmp_path / "here", tmp_path / "there"
    for site in (here, there):
        install(site, "kept", "1", "x = 1")
        module = install(site, "changed", "1", "x = 1")
    (there / "kept-1.dist-info" / "INSTALLER").write_text("someone else")
    assert installed(here) == installed(there)
    seen = {installed(there)["changed"]}
    for spoil in (lambda: module.write_text("x = 2"), module.unlink):
        spoil()
        assert installed(there)["kept"] == installed(here)["kept"]
        seen.add(installed(there)["changed"])
    assert len(seen) == 3


@pytest.fixture
def lock_installer(tmp_path: Path):
    """Runs scripts/install_lock.sh with a stand-in for uv; gives its calls: arguments, packages."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    uv, calls = tmp_path / "venv" / "bin" / "uv", tmp_path / "calls"
    uv.write_text('#!/bin/sh\nfor last; do :; done\n{ echo "call $*"; cat "$last"; } >>"$CALLS"\n')
    uv.chmod(0o755)

    def call(lock: Path, *options: str) -> list[tuple[str, set[str]]]:
        calls.write_text("")
        command = [str(REPOSITORY / "scripts" / "install_lock.sh"), str(tmp_path / "venv")]
        env = {**os.environ, "CALLS": str(calls)}
        subprocess.run([*command, str(lock), *options], check=True, env=env)
        found = []
        for text in calls.read_text().split("call ")[1:]:
            arguments, *lines = text.splitlines()
            names = {line.split("==")[0] for line in lines if re.match("[a-z0-9].*==", line)}
            found.append((arguments, names))
        return found

    return call


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-cuda12.lock"])
def test_the_images_share_the_lock_and_cuda_alone_has_what_only_gpus_use(lock_installer, lock):
    """base installs all but some packages, less libraries of others; cuda installs both again."""
    recipe = (DOCKER / "Dockerfile").read_text()
    without, only = (re.search(f'--{word} "([^"]+)"', recipe)[1] for word in ("without", "only"))
    ((everything, wheels), (_, sources)) = lock_installer(DOCKER / lock)
    assert sources == {"mmcv", "mmdet3d"} and not wheels & sources
    assert "--reinstall" not in everything
    (_, lean), (_, built) = lock_installer(DOCKER / lock, "--without", without)
    assert (wheels - lean, built) == ({"triton"}, {"mmdet3d"})
    ((again, added),) = lock_installer(DOCKER / lock, "--only", only)
    assert "--reinstall" in again
    stems = {re.sub("-cu1[23]$", "", name) for name in added}
    assert stems == {"triton", "nvidia-cudnn", "nvidia-cusolver", "nvidia-cuda-nvrtc"}


def test_every_stage_names_the_arguments_that_it_uses():
    """Docker's builder inherits an ARG from the stage below, Podman's does not."""
    stages = re.split(r"\n(?=FROM )", (DOCKER / "Dockerfile").read_text())[1:]
    used = {
        "DEBIAN_MIRROR": "apt_install",
        "PIP_INDEX_URL": r"pip download|install_lock\.sh \"",
        "UV_DEFAULT_INDEX": "uv pip install --no-deps",
        "MAX_JOBS": r"\$\{MAX_JOBS",
    }
    for argument, use in used.items():
        using = [stage for stage in stages if re.search(use, stage)]
        assert using, f"nothing uses {argument}"
        for stage in using:
            assert re.search(rf"^ARG {argument}\b", stage, re.M), stage.splitlines()[0]


def test_infiniband_is_added_to_services_that_compute_together():
    services = yaml.safe_load((REPOSITORY / "compose.ib.yaml").read_text())["services"]
    assert set(services) <= set(
        yaml.safe_load((REPOSITORY / "compose.gpu.yaml").read_text())["services"]
    )
    for service in services.values():
        assert service["devices"] == ["/dev/infiniband:/dev/infiniband"]
        assert service["ulimits"]["memlock"] == -1
    assert "apt_install ibverbs-providers libibverbs1" in (DOCKER / "Dockerfile").read_text()
