"""The services as real containers, started the way users start them (make test-images).

RUNTIME (docker or podman), IMAGE and VARIANT come from the environment, as for every make target.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pftrack.paths import REPOSITORY

ENGINE = os.environ.get("RUNTIME", "docker")
VARIANT = os.environ.get("VARIANT", "cpu")
IMAGE = os.environ.get("IMAGE", f"pf-track:{VARIANT}")
SERVICES = ("train", "eval", "test", "data", "jupyter", "shell")

pytestmark = pytest.mark.docker

FACTS = """
import json, os, sys
def writable(path):
    probe = os.path.join(path, '.written-by-test')
    try:
        open(probe, 'w').close()
        os.remove(probe)
        return True
    except OSError:
        return False
status = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)
shm = os.statvfs('/dev/shm')
print(json.dumps({
    'user': [os.getuid(), os.getgid()],
    'cwd': os.getcwd(),
    'init': open('/proc/1/comm').read().strip(),
    'capabilities': int(status['CapBnd'], 16),
    'no_new_privileges': int(status['NoNewPrivs']),
    'shared_memory_gb': round(shm.f_blocks * shm.f_frsize / 1e9),
    'writable': [
        path
        for path in ('work_dirs', '../checkpoints', 'data/nuscenes', os.environ['HOME'])
        if writable(path)
    ],
    'home': os.environ['HOME'],
    'python': sys.prefix,
}))
"""


def engine(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ENGINE, *arguments], capture_output=True, text=True, **options)


def labels() -> dict[str, str]:
    """The image's labels."""
    return json.loads(engine("image", "inspect", IMAGE, "-f", "{{json .Config.Labels}}").stdout)


def in_service(service: str, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command in a service, as the Makefile runs it."""
    return subprocess.run(
        ["scripts/run.sh", service, *command],
        cwd=REPOSITORY,
        env=os.environ | {"RUNTIME": ENGINE, "IMAGE": IMAGE, "VARIANT": VARIANT, **variables},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("service", SERVICES)
def test_service_has_the_right_user_mounts_and_rights(service: str):
    done = in_service(service, "python", "-c", FACTS)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["user"] == [os.getuid(), os.getgid()]
    assert facts["cwd"] == str(REPOSITORY / "code")
    assert facts["init"] == "tini"
    assert facts["capabilities"] == 0
    assert facts["no_new_privileges"] == 1
    assert facts["shared_memory_gb"] >= 8
    assert facts["python"] == "/opt/venv"
    data = ["data/nuscenes"] if service == "data" else []
    assert facts["writable"] == ["work_dirs", "../checkpoints", *data, facts["home"]]


def test_what_is_written_belongs_to_the_caller():
    name = REPOSITORY / "code" / "work_dirs" / ".owner-test"
    try:
        assert in_service("shell", "touch", str(name)).returncode == 0
        assert (name.stat().st_uid, name.stat().st_gid) == (os.getuid(), os.getgid())
    finally:
        name.unlink(missing_ok=True)


def test_data_set_behind_a_link_is_found_and_read_only(tmp_path: Path):
    data = tmp_path / "disk" / "nuscenes"
    data.mkdir(parents=True)
    (data / "file").write_text("content")
    link = tmp_path / "link"
    link.symlink_to(data)
    read = in_service("eval", "cat", "data/nuscenes/file", NUSCENES_DIR=str(link))
    assert read.stdout == "content"
    write = in_service("eval", "touch", "data/nuscenes/new", NUSCENES_DIR=str(link))
    assert write.returncode != 0
    assert "Read-only file system" in write.stderr


def test_packages_import_and_a_compiled_operator_runs():
    program = """
import pftrack
import torch, mmcv, mmdet3d, mmdet3d.models, nuscenes
from mmcv.ops import get_compiling_cuda_version, nms
boxes = torch.tensor([[0., 0., 10., 10.], [1., 1., 10., 10.], [20., 20., 30., 30.]])
kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), iou_threshold=0.5)[1]
print(kept.tolist())
print(get_compiling_cuda_version())
"""
    done = in_service("test", "python", "-W", "ignore", "-c", program)
    assert done.returncode == 0, done.stderr
    kept, cuda = done.stdout.splitlines()[-2:]
    assert kept == "[0, 2]"
    if VARIANT == "cuda":
        assert cuda.startswith("13.")
    elif VARIANT == "cpu":
        assert cuda == "not available"


def test_only_the_cuda_image_holds_what_only_gpus_use():
    """The others do without: torch.compile takes the C++ compiler, cuDNN's version is asked for."""
    program = """
import importlib.util, pathlib, torch, torch._inductor.config
torch._inductor.config.cpp_cache_precompile_headers = False  # faster for one function
site = pathlib.Path(torch.__file__).parents[1]
names = ("libcudnn_ops.so*", "libcusolver.so*", "libnvrtc.so*")
libraries = [next(site.glob(f"nvidia/**/{name}"), None) is not None for name in names]
print(libraries, importlib.util.find_spec("triton") is not None)
print(torch.backends.cudnn.version())
function = lambda x: (x * 2).sin().sum()
print(torch.allclose(torch.compile(function)(torch.ones(8)), function(torch.ones(8))))
print(torch.linalg.svd(torch.eye(3))[1].tolist())
"""
    done = in_service("test", "python", "-W", "ignore", "-c", program)
    assert done.returncode == 0, done.stderr
    held, version, *answers = done.stdout.splitlines()[-4:]
    if VARIANT != "dev":  # which stands on one of them
        gpus = VARIANT == "cuda"
        assert held == f"{[gpus] * 3} {gpus}"
    assert int(version) >= 91000
    assert answers == ["True", "[1.0, 1.0, 1.0]"]
    if VARIANT == "cpu":  # run by hand on a machine with GPUs, too
        done = engine("run", "--rm", "--network=none", IMAGE, "printenv", "CUDA_VISIBLE_DEVICES")
        assert (done.returncode, done.stdout.strip()) == (0, "")


def test_settings_of_the_libraries_reach_the_container():
    variables = {"NCCL_IB_HCA": "mlx5_0", "NCCL_SOCKET_IFNAME": "ib0", "GLOO_SOCKET_IFNAME": "a b"}
    done = in_service("train", "env", **variables)
    assert {f"{name}={value}" for name, value in variables.items()} <= set(done.stdout.splitlines())


@pytest.mark.skipif(VARIANT != "cuda", reason="VARIANT=cuda holds them")
def test_cuda_image_holds_the_verbs_of_infiniband():
    found = engine("run", "--rm", "--network=none", IMAGE, "ldconfig", "-p").stdout
    assert "libibverbs.so.1 " in found and "librdmacm.so.1 " in found


def test_image_alone_works_for_any_user_without_network_or_mounts():
    program = "import getpass, pftrack, torch; print(getpass.getuser())"
    command = ("--rm", "--network=none", "--read-only", "--tmpfs=/tmp", "--user=12345:6789", IMAGE)
    done = engine("run", *command, "python", "-W", "ignore", "-c", program)
    name = "12345" if ENGINE == "podman" else "user12345"  # Podman names an unknown user itself
    assert (done.returncode, done.stdout.strip()) == (0, name), done.stderr
    assert engine("run", "--rm", "--network=none", IMAGE, "id", "-u").stdout.strip() == "1000"


def test_image_holds_the_code_and_nothing_private():
    found = engine("run", "--rm", "--network=none", IMAGE, "ls", "-A", "..").stdout.split()
    assert {"code", "docker", "docs", "notebooks", "scripts", "Makefile", "LICENSE"} <= set(found)
    assert not {".git", ".env", ".venv", "shared"} & set(found)
    private = shlex.split("-name '*.pth' -not -path '*/demo/*' -o -path '../code/data/*'")
    inside = engine("run", "--rm", "--network=none", IMAGE, "find", "..", *private)
    assert inside.stdout == ""
    assert labels()["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_image_lists_what_is_in_it():
    bill = engine("run", "--rm", "--network=none", IMAGE, "cat", "/opt/pf-track.cdx.json").stdout
    packages = {entry["purl"] for entry in json.loads(bill)["components"]}
    assert any(purl.startswith("pkg:pypi/mmcv-full@1.7.2") for purl in packages)
    assert any(purl.startswith("pkg:deb/debian/tini@") for purl in packages)
    again = "python /opt/build/sbom.py /opt/build/*.lock | cmp - /opt/pf-track.cdx.json"
    done = engine("run", "--rm", "--network=none", IMAGE, "bash", "-c", again)
    assert (done.returncode, done.stdout) == (0, ""), "the image is not what its bill says"


def test_image_names_its_commit_and_carries_no_build_secret():
    """A run's record takes the commit from the image where there is no repository."""
    program = "from pftrack.revision import git_state; print(git_state())"
    command = ("--rm", "--network=none", IMAGE, "python", "-W", "ignore", "-c", program)
    commit = labels()["org.opencontainers.image.revision"].removesuffix("-dirty")
    done = engine("run", *command)
    assert f"'git_commit': '{commit}'" in done.stdout, done.stderr
    secrets = engine("run", "--rm", "--network=none", IMAGE, "find", "/run/secrets", "-type", "f")
    assert secrets.stdout == ""
    assert "BEGIN CERTIFICATE" not in engine("history", "--no-trunc", IMAGE).stdout


@pytest.mark.skipif(VARIANT != "dev", reason="VARIANT=dev adds tools")
def test_dev_image_has_its_tools():
    done = in_service("shell", "bash", "-c", "git --version && make --version && gdb --version")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A running Jupyter service: (address, token)."""
    log = (tmp_path / "log").open("w+")
    server = subprocess.Popen(
        ["make", "jupyter", "PORT=18888"],
        cwd=REPOSITORY,
        env=os.environ | {"RUNTIME": ENGINE, "IMAGE": IMAGE, "VARIANT": VARIANT},
        stdout=subprocess.PIPE,
        stderr=log,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    try:
        for line in server.stdout:  # ends when the container does
            if line.startswith("JupyterLab: "):
                address, token = line.split()[1].split("/lab?token=")
                yield address, token
                return
        log.seek(0)
        pytest.fail(f"no address printed: {log.read()}")
    finally:
        for container in engine("ps", "-q", "--filter", "name=jupyter").stdout.split():
            image = engine("inspect", "-f", "{{.Config.Image}}", container).stdout.strip()
            if image.endswith(IMAGE):  # Podman puts localhost/ before it
                engine("stop", "-t", "10", container)
        server.wait(60)


def status_of(url: str, attempts: int = 600) -> int:
    """The HTTP status; waits for a server that is starting."""
    for _ in range(attempts):
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.2)  # between attempts to connect
    raise AssertionError(f"{url} does not answer")


def test_jupyter_answers_only_with_its_token(jupyter: tuple[str, str]):
    address, token = jupyter
    assert address == "http://127.0.0.1:18888"
    assert status_of(f"{address}/api/status") == 403
    assert status_of(f"{address}/api/status?token={token}") == 200
    assert status_of(f"{address}/api/status?token={'0' * len(token)}") == 403
    assert listening_on(18888) == {"127.0.0.1"}
    container = engine("ps", "-q", "--filter", "name=jupyter").stdout.split()[0]
    assert engine("exec", container, "../scripts/jupyter_health.sh").returncode == 0


def listening_on(port: int) -> set[str]:
    """Addresses of this machine that accept connections on a port."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            (address, number), state = line.split()[1].split(":"), line.split()[3]
            if state == "0A" and int(number, 16) == port:
                found.add("127.0.0.1" if address == "0100007F" else address)
    return found
