"""Files of the image that can be tried without building it: the bill of materials, InfiniBand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

from pftrack.paths import REPOSITORY

DOCKER = REPOSITORY / "docker"


def bill_of(*locks: Path) -> bytes:
    """What docker/sbom.py prints for this environment."""
    command = [sys.executable, str(DOCKER / "sbom.py"), *map(str, locks)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_the_bill_of_materials_lists_packages_with_the_locks_hashes(tmp_path: Path):
    lock = tmp_path / "a.lock"
    (torch_version,) = {
        line.split("==")[1].split()[0]
        for line in (DOCKER / "requirements.lock").read_text().splitlines()
        if line.startswith("torch==")
    }
    hashes = ["b" * 64, "a" * 64]
    lines = " \\\n".join(f"    --hash=sha256:{each}" for each in hashes)
    lock.write_text(f"torch=={torch_version} ; marker \\\n{lines}\nabsent==1 \\\n{lines}\n")
    first = bill_of(lock, lock)
    assert first == bill_of(lock)
    bill = json.loads(first)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    components = {entry["bom-ref"]: entry for entry in bill["components"]}
    assert len(components) == len(bill["components"])
    torch = components[f"pkg:pypi/torch@{torch_version}"]
    (reference,) = torch["externalReferences"]
    assert [each["content"] for each in reference["hashes"]] == sorted(hashes)
    assert "pkg:pypi/absent@1" not in components
    assert "externalReferences" not in components[f"pkg:pypi/pip@{_version('pip')}"]


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def test_infiniband_is_added_to_services_that_compute_together():
    services = yaml.safe_load((REPOSITORY / "compose.ib.yaml").read_text())["services"]
    assert set(services) <= set(
        yaml.safe_load((REPOSITORY / "compose.gpu.yaml").read_text())["services"]
    )
    for service in services.values():
        assert service["devices"] == ["/dev/infiniband:/dev/infiniband"]
        assert service["ulimits"]["memlock"] == -1
    assert "apt_install ibverbs-providers libibverbs1" in (DOCKER / "Dockerfile").read_text()
