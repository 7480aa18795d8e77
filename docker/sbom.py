"""What is installed here, as a bill of materials (CycloneDX 1.6): sbom.py LOCK... >FILE

Every Python package of this environment, with the SHA-256 that the locks allow for its files and
one of what was installed, and every Debian package where there is dpkg. The same lock and base give
the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote


def normal(name: str) -> str:
    """A package's name as locks write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked_hashes(locks: list[Path]) -> dict[tuple[str, str], list[str]]:
    """SHA-256 of the files that the locks allow, by (name, version)."""
    found: dict[tuple[str, str], list[str]] = {}
    for lock in locks:
        for entry in re.split(r"\n(?=[a-z0-9])", lock.read_text(encoding="utf-8")):
            head = re.match(r"([a-z0-9.-]+)==([^\s\\;]+)", entry)
            if head:
                hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)
                found.setdefault((head[1], head[2]), []).extend(hashes)
    return found


# What an installer writes of itself beside a package's files.
OF_THE_INSTALLER = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json"}


def installed_hash(package: Distribution) -> str:
    """SHA-256 over path and content of a package's files, by its own record of them.

    Without what depends on the day: Python's compiled files carry dates. A file that is not there
    counts as absent.
    """
    digest = hashlib.sha256()
    for path in sorted(package.files or ()):
        if path.suffix == ".pyc" or path.name in OF_THE_INSTALLER:
            continue
        content = "absent"
        if (file := Path(str(path.locate()))).is_file():
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{path} {content}\n".encode())
    return digest.hexdigest()


def component(purl: str, name: str, version: str) -> dict[str, Any]:
    """An entry of the bill."""
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def python_packages(locks: list[Path]) -> list[dict[str, Any]]:
    """The environment's packages, by name."""
    hashes = locked_hashes(locks)
    components = {}
    for package in distributions():
        name, version = normal(package.metadata["Name"]), package.version
        purl = f"pkg:pypi/{name}@{version}"
        installed = {"name": "pf-track:installed-sha256", "value": installed_hash(package)}
        components[purl] = component(purl, name, version) | {"properties": [installed]}
        files = [
            {"alg": "SHA-256", "content": each}
            for each in sorted(set(hashes.get((name, version), ())))
        ]
        if files:
            reference = {"type": "distribution", "url": purl, "hashes": files}
            components[purl]["externalReferences"] = [reference]
    return [components[purl] for purl in sorted(components)]


def debian_packages() -> list[dict[str, Any]]:
    """The system's packages, by name; none where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return []
    form = "${binary:Package}\t${Version}\t${Architecture}\n"
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True
    )
    components = []
    for line in sorted(listed.stdout.splitlines()):
        name, version, architecture = line.split("\t")
        name = name.partition(":")[0]
        purl = f"pkg:deb/debian/{name}@{quote(version, safe='~')}?arch={architecture}"
        components.append(component(purl, name, version))
    return components


if __name__ == "__main__":
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "pf-track", "bom-ref": "pf-track"}},
        "components": python_packages([Path(lock) for lock in sys.argv[1:]]) + debian_packages(),
    }
    json.dump(bill, sys.stdout, indent=1)
    print()
