"""docker/kubernetes/ against Kubernetes' published schemas and against the scripts it starts.

``kubernetes_schemas.json`` holds what the package kubernetes-validate has for 1.37, strict, of the
kinds below and of what these refer to, without descriptions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pftrack.paths import CODE, REPOSITORY

MANIFESTS = sorted((REPOSITORY / "docker" / "kubernetes").glob("*.yaml"))
SCHEMAS = json.loads(Path(__file__).with_name("kubernetes_schemas.json").read_text())


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def check(document: dict[str, Any]) -> None:
    import jsonschema  # a second and a half of grammars: not for who leaves these tests out

    jsonschema.validate(document, SCHEMAS["kinds"][document["kind"]] | {"$defs": SCHEMAS["$defs"]})


@pytest.mark.slow
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_what_kubernetes_takes(path: Path):
    for document in documents(path):
        check(document)


@pytest.mark.slow
def test_the_schemas_refuse_what_kubernetes_does_not_know():
    from jsonschema import ValidationError

    (job,) = documents(REPOSITORY / "docker" / "kubernetes" / "eval.yaml")
    job["spec"]["template"]["spec"]["restartpolicy"] = "Never"
    with pytest.raises(ValidationError, match="restartpolicy"):
        check(job)


def test_pods_find_each_other_and_their_files():
    service, job = documents(REPOSITORY / "docker" / "kubernetes" / "train.yaml")
    (_, work) = documents(REPOSITORY / "docker" / "kubernetes" / "storage.yaml")
    spec = job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    name = job["metadata"]["name"]
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    assert service["spec"]["clusterIP"] == "None"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert env["MASTER_ADDR"] == f"{name}-0.{pod['subdomain']}"
    assert spec["completions"] == spec["parallelism"] == int(env["NNODES"])
    assert int(container["args"][3]) == container["resources"]["limits"]["nvidia.com/gpu"]
    assert work["spec"]["accessModes"] == ["ReadWriteMany"]
    for variable in set(env):
        assert variable in (CODE / "tools" / "dist_train.sh").read_text()


@pytest.mark.parametrize("path", [p for p in MANIFESTS if p.name != "storage.yaml"])
def test_containers_start_what_exists_without_rights_and_with_shared_memory(path: Path):
    job = documents(path)[-1]
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for word in container["args"]:
        if word.startswith(("tools/", "projects/")):
            assert (CODE / word).is_file(), word
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["shm"]["mountPath"] == "/dev/shm" and mounts["data"]["readOnly"] is True
    shm = {volume["name"]: volume for volume in pod["volumes"]}["shm"]
    assert shm["emptyDir"]["medium"] == "Memory"
    (failed,) = (rule for rule in job["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in rule)
    assert failed["onExitCodes"]["containerName"] == container["name"]
