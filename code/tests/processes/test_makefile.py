"""The Makefile and its scripts: help, checked values, and the commands they come to.

Docker itself is a stand-in that writes down how it was called; the containers have their own tests.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pftrack.paths import REPOSITORY

TARGETS = [
    "setup",
    "demo",
    "doctor",
    "test",
    "data",
    "train-f1",
    "train-f3",
    "eval",
    "detect",
    "report",
    "compare",
    "baseline",
    "reproduce",
    "checkpoints",
    "inspect",
    "video",
    "view",
    "watch",
    "jupyter",
    "notebooks",
    "parity",
    "bench",
    "gpu-check",
    "build",
    "shell",
    "clean",
    "help",
    "test-images",
    "sif",
]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what make reads, so that no test touches the real project."""
    root = tmp_path / "project"
    shutil.copytree(REPOSITORY / "scripts", root / "scripts")
    shutil.copytree(REPOSITORY / "docker", root / "docker")
    for name in ("Makefile", *(path.name for path in REPOSITORY.glob("compose*.yaml"))):
        shutil.copy(REPOSITORY / name, root)
    (root / "code" / "work_dirs").mkdir(parents=True)
    (root / "checkpoints" / "f3_all").mkdir(parents=True)
    (root / "checkpoints" / "f3_all" / "final.pth").touch()
    return root


def run(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """make in ``root``, on a machine without GPUs."""
    names = ("PATH", "HOME", "TMPDIR", "LANG")
    env = {name: os.environ[name] for name in names if name in os.environ}
    env |= {"CUDA_VISIBLE_DEVICES": "", **variables}
    return subprocess.run(["make", *arguments], cwd=root, env=env, capture_output=True, text=True)


def test_help_lists_every_target_and_every_variable_with_its_default():
    done = run(REPOSITORY)
    assert done.returncode == 0
    for target in TARGETS:
        assert re.search(rf"^  make {target} +\S", done.stdout, re.M), target
    for name, default in re.findall(
        r"^([A-Z_]+) \?= ?([^#\n]*)##", (REPOSITORY / "Makefile").read_text(), re.M
    ):
        assert re.search(
            rf"^  {name} +\S.*{re.escape(f'[{default}]') if default else ''}$", done.stdout, re.M
        ), name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train-f1", "RES=foo"], "RES=foo: must be one of: 800x320 1600x640"),
        (["train-f3", "HEAD=yolo"], "HEAD=yolo: must be one of: petr detr3d"),
        (["train-f1", "GPUS=many"], "GPUS=many: must be a whole number"),
        (["train-f1", "GPUS=8"], "GPUS=8: this machine has 0 usable"),
        (["train-f1"], "GPUS=8: this machine has 0 usable"),
        (["eval", "CKPT=f3_all/final.pth"], "GPUS=1: this machine has 0 usable"),
        (["train-f1", "GPUS=0", "DEVICE=tpu"], "DEVICE=tpu: must be one of: auto cpu cuda"),
        (["train-f1", "GPUS=0", "NNODES=2"], "NNODES=2 needs MASTER_ADDR"),
        (["train-f1", "GPUS=0", "NNODES=2", "NODE_RANK=2"], "NODE_RANK=2: the nodes are numbered"),
        (["train-f1", "GPUS=0", "RESUME=gone.pth"], "RESUME=gone.pth: no such file"),
        (["train-f1", "GPUS=0", "CONFIG=gone.py"], "code/ and checkpoints/): e.g. CONFIG="),
        (["train-f3", "GPUS=0", "LOAD_FROM=gone.pth"], "checkpoints/): e.g. LOAD_FROM=work_dirs"),
        (["eval", "GPUS=0"], "make eval needs CKPT=..."),
        (["eval", "GPUS=0", "CKPT=gone.pth"], "CKPT=gone.pth: no such file"),
        (["report"], "make report needs RESULT=..."),
        (["video", "RESULT=gone.json"], "RESULT=gone.json: no such file"),
        (["view", "RESULT=gone.json"], "RESULT=gone.json: no such file"),
        (["watch", "WORK_DIR=gone"], "WORK_DIR=gone: no such file"),
        (["export", "CKPT=f3_all/final.pth", "FORMAT=gif"], "FORMAT=gif: must be one of: onnx"),
        (["setup", "RUNTIME=native", "ARGS=everything"], "the optional parts are rerun, timm"),
        (["data", "VERSION=v2"], "VERSION=v2: must be one of"),
        (["data", "WORKERS=all"], "WORKERS=all: must be a whole number"),
        (["jupyter", "PORT=http"], "PORT=http: must be a whole number"),
        (["jupyter", "PORT=70000"], "PORT=70000: must be between 1 and 65535"),
        (["jupyter", "PORT=99999999999999999999"], "must be between 1 and 65535"),
        (["data", "WORKERS=100000"], "WORKERS=100000: must be between 0 and 256"),
        (["data", "CKPT=f3_all/final.pth"], "make data does not read CKPT: it reads NUSCENES"),
        (["eval", "GPUS=0", "CKPT=f3_all/final.pth", "SCENES=a"], "does not read SCENES"),
        (["eval", "GPUS=0", "STREAMS=0"], "STREAMS=0: must be between 1 and 1024"),
        (["detect", "GPUS=0", "STREAMS=2"], "does not read STREAMS"),
        (["eval", "GPUS=0", "CKPT=-f"], "CKPT=-f: a value does not begin with a dash"),
        (["demo", "OUT=a\nb"], "OUT: a line break in a value"),
        (["test", "ARGS=-k 'a"], "ARGS=-k 'a: a quote is not closed"),
        (["demo", "RES=800x320"], "make demo does not read RES: it reads OUT ARGS"),
        (["reproduce", "GPUS=8"], "GPUS=8: this machine has 0 usable"),
        (["reproduce", "TRAIN=yes"], "TRAIN=yes: must be one of: 0 1"),
        (["reproduce", "TRAIN=1", "HEAD=detr3d"], "HEAD=detr3d: TRAIN=1 trains what the record"),
        (["build", "VARIANT=rocm"], "VARIANT=rocm: must be one of: cuda cpu dev"),
        (["setup", "CUDA=11"], "CUDA=11: must be one of: 12 13"),
        (["build", "MAX_JOBS=all"], "MAX_JOBS=all: must be a whole number"),
        (
            ["test", "RUNTIME=lxc"],
            "RUNTIME=lxc: must be one of: auto docker podman",
        ),
        (["train-f1", "GPU=0"], "unknown variable GPU"),
    ],
)
def test_wrong_value_is_one_line_and_status_2(project: Path, arguments: list[str], says: str):
    done = run(project, *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (
            ["train-f1", "GPUS=8"],
            "scripts/run.sh train bash tools/dist_train.sh "
            "projects/configs/tracking/petr/f1_q5_800x320.py 8 "
            "--work-dir work_dirs/petr_f1_800x320 --auto-resume",
        ),
        (
            ["train-f3", "HEAD=detr3d", "RES=1600x640", "RESUME=no", "ARGS=a.b=c d=e"],
            "scripts/run.sh train bash tools/dist_train.sh "
            "projects/configs/tracking/detr3d/f3_q5_1600x640.py 8 "
            "--work-dir work_dirs/detr3d_f3_1600x640 a.b=c d=e",
        ),
        (
            ["data", "VERSION=v1.0-test", "WORKERS=4"],
            "scripts/run.sh data python tools/create_data.py nuscenes-tracking-test "
            "--root-path data/nuscenes --out-dir data/nuscenes "
            "--extra-tag tracking_forecasting --version v1.0 --forecasting --workers 4",
        ),
        (
            ["reproduce", "ONLY=f3_all"],
            "scripts/run.sh eval python tools/reproduce.py --gpus 1 --only f3_all",
        ),
        (
            ["reproduce", "TRAIN=1"],
            "scripts/run.sh train python tools/retrain.py --gpus 8",
        ),
        (
            ["reproduce", "TRAIN=1", "RES=800x320", "GPUS=4", "WORK_DIR=/a/b", "ARGS=--plan"],
            "scripts/run.sh --write /a/b train python tools/retrain.py --gpus 4 "
            "--work-dir /a/b --only 800x320 --plan",
        ),
        (
            ["video", "RESULT=f3_all/final.pth", "FORMAT=rrd", "SCENES=scene-0103"],
            "scripts/run.sh --write {root}/checkpoints/f3_all eval python tools/make_video.py "
            "{root}/checkpoints/f3_all/final.pth --format rrd --scenes scene-0103",
        ),
        (
            ["view", "RESULT=f3_all/final.pth", "ARGS=--no-truth"],
            "scripts/run.sh --read {root}/checkpoints/f3_all/final.pth eval python tools/view.py "
            "{root}/checkpoints/f3_all/final.pth --no-truth",
        ),
        (
            ["watch"],
            "scripts/run.sh --read {root}/code/work_dirs jupyter ../scripts/watch.sh "
            "{root}/code/work_dirs",
        ),
        (["setup", "ARGS=rerun"], "scripts/setup.sh rerun"),
        (["setup", "ARGS=timm argoverse"], "scripts/setup.sh timm argoverse"),
        (["test", "ARGS=-k geometry"], "scripts/run.sh test python -m pytest -k geometry"),
    ],
)
def test_dry_run_shows_the_command_on_any_machine(
    project: Path, arguments: list[str], command: str
):
    done = run(project, "-n", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == command.replace("{root}", str(project))


def test_a_retraining_prints_its_plan_before_it_looks_for_gpus(project: Path):
    (project / "scripts" / "run.sh").write_text('#!/bin/sh\necho "runs $*"\n')
    done = run(project, "reproduce", "TRAIN=1", "GPUS=8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("runs train python tools/retrain.py --gpus 8\n")


def test_checkpoint_is_found_below_checkpoints(project: Path):
    done = run(project, "-n", "eval", "CKPT=f3_all/final.pth", "GPUS=0")
    file = project / "checkpoints" / "f3_all" / "final.pth"
    assert f"--read {file} eval python tools/eval.py {file} --gpus 0" in done.stdout
    assert "--streams" not in done.stdout
    done = run(project, "-n", "eval", "CKPT=f3_all/final.pth", "GPUS=0", "STREAMS=4")
    assert "--engine torch --streams 4" in done.stdout


def test_settings_of_the_machine_come_from_dotenv_and_lose_to_the_command_line(project: Path):
    (project / ".env").write_text("HEAD=detr3d\n# HEAD=none\n")
    assert "detr3d/f1_q5" in run(project, "-n", "train-f1").stdout
    assert "petr/f1_q5" in run(project, "-n", "train-f1", "HEAD=petr").stdout


# --- drivers and GPUs, with an nvidia-smi that says what a test wants

NVIDIA_SMI = """#!/bin/sh
case "$*" in
  *driver_version*) echo "$DRIVER" ;;
  *compute_cap*) echo "$GPU" ;;
  -L) echo "GPU 0: a stand-in (UUID: GPU-1)" ;;
esac
"""


@pytest.fixture
def nvidia_smi(tmp_path: Path) -> str:
    """A PATH with the stand-in in front."""
    folder = tmp_path / "smi"
    folder.mkdir()
    (folder / "nvidia-smi").write_text(NVIDIA_SMI)
    (folder / "nvidia-smi").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def in_lib(root: Path, command: str, **variables: str) -> tuple[str, str]:
    """(output, messages) of a function of scripts/lib.sh."""
    script = f". '{root}/scripts/lib.sh'; {command}"
    env = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize(
    ("driver", "gpu", "cuda", "says"),
    [
        ("580.65.06", "9.0", "13", ""),
        ("590.1", "7.5", "13", ""),
        ("579.99", "9.0", "12", "driver is 579.99, and CUDA 13 needs 580 or newer"),
        ("525.60.13", "8.6", "12", "driver is 525.60.13, and CUDA 13 needs"),
        ("580.65.06", "7.0", "12", "compute capability 7.0, and CUDA 13 needs 7.5 or newer"),
        ("580.65.06", "6.1\n10.0", "13", ""),  # the newer GPU of two decides
        ("", "", "", ""),
        ("NVIDIA-SMI has failed", "", "", ""),
    ],
)
def test_the_driver_chooses_cuda_and_says_so_in_one_line(
    project: Path, nvidia_smi: str, driver: str, gpu: str, cuda: str, says: str
):
    found, said = in_lib(project, "pick_cuda", PATH=nvidia_smi, DRIVER=driver, GPU=gpu)
    assert found == cuda and says in said
    assert len(said.splitlines()) == (cuda == "12")
    asked = in_lib(project, "pick_cuda", PATH=nvidia_smi, DRIVER=driver, GPU=gpu, CUDA="12")
    assert asked == ("12", "")


@pytest.mark.parametrize(
    ("driver", "gpu", "cuda", "says"),
    [
        ("580.65.06", "9.0", "", ""),
        ("550.54.14", "9.0", "", ""),
        ("550.54.14", "9.0", "12", ""),
        (
            "550.54.14",
            "9.0",
            "13",
            "driver 550.54.14 is too old for CUDA 13: install 580 or newer, or use CUDA=12",
        ),
        ("470.256.02", "8.6", "", "driver 470.256.02 is too old for CUDA 12: install 525 or newer"),
        ("470.256.02", "8.6", "13", "is too old for CUDA 13: install 580 or newer; DEVICE=cpu"),
        ("580.65.06", "7.0", "13", "7.0, and CUDA 13 needs 7.5 or newer: use another GPU, or use"),
        ("580.65.06", "6.1", "", "6.1, and CUDA 12 needs 7.0 or newer: use another GPU; DEVICE="),
    ],
)
def test_what_pytorch_cannot_use_is_said_before_anything_is_downloaded(
    project: Path, nvidia_smi: str, driver: str, gpu: str, cuda: str, says: str
):
    machine = {"PATH": nvidia_smi, "DRIVER": driver, "GPU": gpu, "CUDA": cuda}
    found, said = in_lib(project, "gpu_problem", **machine)
    assert said == "" and (says in found if says else found == "")
    variables = [f"CUDA={cuda}"] if cuda else []
    (project / "scripts" / "run.sh").write_text("#!/bin/sh\n")
    done = run(project, "train-f1", "GPUS=1", *variables, CUDA_VISIBLE_DEVICES="0", **machine)
    assert done.returncode == (2 if says else 0), done.stderr
    assert (f"GPUS=1: {found}" in done.stderr) == bool(says)
    if says and cuda:
        done = run(project, "setup", "RUNTIME=native", *variables, **machine)
        assert done.returncode == 2 and f"\nerror: CUDA={cuda}: {found}\n" in done.stderr
        assert not (project / ".venv").exists()


def test_each_cuda_has_its_lock_and_an_environment_stays_what_it_is(project: Path):
    """``.venv/.locked`` of CUDA=12 is up to date with and without the variable, not for CUDA=13."""
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    locks = [project / "docker" / f"{name}.lock" for name in ("requirements-cuda12", "installer")]
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    (project / ".venv" / ".locked").write_text(f"{digest} 3.12 12\n")
    for variables in ([], ["CUDA=12"]):
        done = run(project, "setup", "RUNTIME=native", *variables)
        assert done.returncode == 0 and "making" not in done.stderr, done.stderr
    done = run(project, "setup", "RUNTIME=native", "CUDA=13", PATH=without_python(project))
    assert done.returncode == 2 and "no Python 3.11 to 3.14" in done.stderr


def without_python(project: Path) -> str:
    """A PATH with the commands that set-up takes, and no Python."""
    folder = project / "bin"
    folder.mkdir()
    commands = ["awk", "bash", "cat", "cut", "dirname", "env", "flock", "git", "grep", "head"]
    for name in [*commands, "make", "sed", "sha256sum", "sort", "timeout"]:
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    return str(folder)


# --- the container runtime, with a docker that writes down its calls

FAKE = """#!/bin/bash
printf '%s\\n' "$(basename "$0") $*" >>"$CALLS"
case "$1" in
  info) echo "${RUNTIMES:-}"; echo "${SAYS:-}" >&2; exit "${NO_ENGINE:-0}" ;;
  compose) exit 1 ;;
  network) exit "${NO_BRIDGE:-0}" ;;
esac
"""


@pytest.fixture
def docker(project: Path, tmp_path: Path):
    """Runs make with a stand-in for docker and docker-compose; returns (result, calls)."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("docker", "docker-compose", "podman"):
        (folder / name).write_text(FAKE if name != "podman" else "#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)
    calls = tmp_path / "calls"

    def make(*arguments: str, **variables: str):
        calls.write_text("")
        path = f"{folder}:{os.environ['PATH']}"
        done = run(project, *arguments, PATH=path, CALLS=str(calls), **variables)
        return done, calls.read_text()

    return make


def test_auto_uses_an_engine_that_answers_and_says_so(docker, project: Path):
    done, calls = docker("test")
    assert done.returncode == 0, done.stderr
    assert "runtime: docker (image pf-track:cpu" in done.stderr
    options = f"--project-directory {project} -f {project}/compose.yaml"
    command = "run --rm -T -e TQDM_MININTERVAL=10 test python -m pytest"
    assert f"docker-compose {options} {command}\n" in calls


def test_docker_runtime_without_an_engine_is_one_line(docker):
    done, _ = docker("test", "RUNTIME=docker", NO_ENGINE="1")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("error: RUNTIME=docker: no Docker engine answers")


def test_an_engine_that_may_not_be_used_is_told_apart(docker):
    denied = {"NO_ENGINE": "1", "SAYS": "permission denied while trying to connect to the daemon"}
    done, _ = docker("test", "RUNTIME=docker", **denied)
    assert done.returncode == 2
    first = done.stderr.splitlines()[0]
    assert first.startswith("error: RUNTIME=docker: Docker is there, but ")
    assert "may not use it (permission denied; 'sudo usermod -aG docker" in first
    done, _ = docker("setup", PYTHON="gone", **denied)  # the reason comes before the work
    assert "Docker is there, but" in done.stderr.splitlines()[0]
    assert done.stderr.splitlines()[0].endswith(": running natively")
    assert done.stderr.splitlines()[1] == "runtime: native"


def test_gpus_are_handed_on_where_the_engine_can(docker, project: Path):
    gpus = {"CUDA_VISIBLE_DEVICES": "0,1"}
    _, calls = docker("test", RUNTIMES='{"nvidia":{},"runc":{}}', **gpus)
    assert f"-f {project}/compose.yaml -f {project}/compose.gpu.yaml run" in calls
    done, calls = docker("test", RUNTIMES='{"runc":{}}', **gpus)
    assert done.returncode == 2
    assert "has no NVIDIA container toolkit" in done.stderr
    assert " run " not in calls
    _, calls = docker("test", "VARIANT=cpu", RUNTIMES='{"runc":{}}', **gpus)
    assert f"-f {project}/compose.yaml run" in calls


def test_an_old_driver_gets_the_image_with_cuda_12(docker, project: Path, nvidia_smi: str):
    smi = Path(nvidia_smi.partition(":")[0], "nvidia-smi")
    shutil.copy(smi, project.parent / "bin")
    machine = {"RUNTIMES": '{"nvidia":{}}', "CUDA_VISIBLE_DEVICES": "0", "GPU": "8.6"}
    done, calls = docker("test", DRIVER="550.54.14", **machine)
    assert done.returncode == 0, done.stderr
    assert "CUDA=12 chosen" in done.stderr and "image pf-track:cuda12" in done.stderr
    done, calls = docker("build", DRIVER="550.54.14", **machine)
    assert "--target cuda --tag pf-track:cuda12" in calls and "--build-arg CUDA=12" in calls
    done, calls = docker("build", "VARIANT=cpu", DRIVER="550.54.14", **machine)
    assert "--tag pf-track:cpu " in calls and "--build-arg CUDA=13" in calls
    done, calls = docker("test", "CUDA=13", DRIVER="550.54.14", **machine)
    assert done.returncode == 2 and " run " not in calls
    assert "driver 550.54.14 is too old for CUDA 13" in done.stderr
    done, calls = docker("test", DRIVER="580.65.06", **machine)
    assert "image pf-track:cuda;" in done.stderr


def test_settings_of_the_libraries_underneath_reach_the_container(docker):
    _, calls = docker("test", NCCL_SOCKET_IFNAME="eth1", OMP_NUM_THREADS="4", SOMETHING="else")
    assert "-e NCCL_SOCKET_IFNAME=eth1" in calls and "-e OMP_NUM_THREADS=4" in calls
    assert "SOMETHING" not in calls


def test_progress_in_a_log_is_a_line_every_ten_seconds_unless_told_otherwise(project: Path):
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "every $TQDM_MININTERVAL s"\n')
    python.chmod(0o755)
    (project / "scripts" / "setup_native.sh").write_text("#!/bin/sh\n")
    assert run(project, "test", "RUNTIME=native").stdout.endswith("every 10 s\n")
    told = run(project, "test", "RUNTIME=native", TQDM_MININTERVAL="2")
    assert told.stdout.endswith("every 2 s\n")


def test_files_outside_the_project_are_mounted_inputs_read_only(docker, tmp_path: Path):
    checkpoint = tmp_path / "elsewhere" / "a.pth"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    out = tmp_path / "out"
    _, calls = docker("eval", f"CKPT={checkpoint}", "GPUS=0", f"WORK_DIR={out}")
    assert f"-v {checkpoint.parent}:{checkpoint.parent}:ro" in calls
    assert f"-v {out}:{out}:rw" in calls
    assert out.is_dir()
    _, calls = docker("eval", "CKPT=f3_all/final.pth", "GPUS=0")
    assert " -v " not in calls


def test_jupyter_publishes_its_port_only_where_the_engine_has_a_network(docker):
    assert "--service-ports" in docker("jupyter")[1]
    assert "--service-ports" not in docker("jupyter", NO_BRIDGE="1")[1]
    assert "--service-ports" not in docker("test")[1]


def test_image_in_a_registry_is_pulled_any_other_is_built(docker):
    assert (
        "docker pull ghcr.example.com/team/pf-track:1"
        in docker("setup", "IMAGE=ghcr.example.com/team/pf-track:1")[1]
    )
    _, calls = docker("setup", "IMAGE=pf-track:mine", "BASE_IMAGE=debian@sha256:0", "MAX_JOBS=2")
    assert re.search(r"docker build .*--target cpu --tag pf-track:mine", calls)
    assert "--build-arg BASE_IMAGE --build-arg MAX_JOBS" in calls
    _, calls = docker("build", "VARIANT=dev", "PIP_INDEX_URL=https://mirror.example.com/simple")
    assert "--target dev" in calls and "--build-arg VARIANT=cpu" in calls
    assert "--build-arg PIP_INDEX_URL --build-arg UV_DEFAULT_INDEX" in calls


def test_secrets_reach_the_build_as_secrets(docker, tmp_path: Path):
    bundle = tmp_path / "ca.pem"
    bundle.write_text("certificate")
    _, calls = docker("build", f"EXTRA_CA={bundle}")
    assert f"--secret id=extra_ca,src={bundle}" in calls
    assert "EXTRA_CA" not in calls
    done, calls = docker("build", "EXTRA_CA=gone.pem")
    assert done.returncode == 2
    assert "error: EXTRA_CA=gone.pem: no such file" in done.stderr


# --- files that hold promises


def test_services_mount_data_read_only_and_publish_on_this_machine_only():
    services = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]
    assert set(services) == {"train", "eval", "test", "data", "jupyter", "shell"}
    for name, service in services.items():
        data = [v for v in service["volumes"] if v.startswith("${NUSCENES_DIR")]
        assert len(data) == 1
        assert data[0].endswith(":ro") == (name != "data")
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert service["user"] == "${HOST_UID:-1000}:${HOST_GID:-1000}"
    gpu = yaml.safe_load((REPOSITORY / "compose.gpu.yaml").read_text())["services"]
    assert set(gpu) == set(services) - {"data"}


@pytest.mark.parametrize(
    "name",
    ["requirements", "requirements-cuda12", "ops", "installer", "rerun", "timm", "argoverse"],
)
def test_locks_pin_every_package_with_hashes_and_name_no_address(name: str):
    text = (REPOSITORY / "docker" / f"{name}.lock").read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    wanted = {
        re.match(r"[\w.-]+", line)[0].lower().replace("_", "-")
        for line in (REPOSITORY / "docker" / f"{name}.in").read_text().splitlines()
        if not line.startswith("#")
    }
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+( ; .+?)? \\\n", entry), entry[:60]
        assert "--hash=sha256:" in entry
    assert wanted <= {entry.split("==")[0] for entry in entries}


def test_both_environments_differ_in_pytorch_alone():
    def versions(name: str) -> dict[str, str]:
        text = (REPOSITORY / "docker" / f"{name}.lock").read_text()
        return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE))

    new, old = versions("requirements"), versions("requirements-cuda12")
    differ = {name for name in new.keys() | old.keys() if new.get(name) != old.get(name)}
    assert {"torch", "torchvision"} <= differ
    others = {name for name in differ if not name.startswith(("torch", "nvidia-", "cuda-"))}
    assert not others - {"triton"}


# --- values are data

NASTY = {
    "quote": "x'; touch MARK; echo '",
    "double quote": 'x"; touch MARK; echo "',
    "substitution": "x$(touch MARK)",
    "backticks": "x`touch MARK`",
    "semicolon": "x; touch MARK",
    "and": "x && touch MARK",
    "pipe": "x | touch MARK",
    "redirection": "x > MARK",
    "make": "x$(shell touch MARK)",
    "make in braces": "x${shell touch MARK}",
    "twice": "x$$(touch MARK)",
    "dash": "--help; touch MARK",
    "line break": "x\ntouch MARK\n",
    "unicode": "x\u2019; touch MARK",
    "arithmetic": "a[$(touch MARK)]",
}


@pytest.mark.parametrize("how", ["command line", "environment", ".env"])
@pytest.mark.parametrize("case", NASTY)
def test_no_value_is_ever_run(project: Path, tmp_path: Path, case: str, how: str):
    """Every variable with every target that may read it; what runs is a stand-in."""
    mark = tmp_path / "ran"
    value = NASTY[case].replace("MARK", str(mark))
    told = tmp_path / "told"
    for script in ("run", "setup", "build", "test_images", "clean"):
        (project / "scripts" / f"{script}.sh").write_text(
            f"#!/bin/bash\nprintf '%s\\0' \"$@\" >>{told}\n"
        )
    makefile = (project / "Makefile").read_text()
    names = re.findall(r"^([A-Z_]+) \?=", makefile, re.M)
    reads = re.findall(
        r"^    (\S.*)\) echo \"(.*)\" ;;$", (project / "scripts/target.sh").read_text(), re.M
    )
    of = {
        name: pattern.split(" | ")[0].replace("*", "f1")
        for pattern, all in reads
        for name in all.split()
    }
    needed = {
        "inspect": "CKPT",
        "eval": "CKPT",
        "report": "RESULT",
        "video": "RESULT",
        "view": "RESULT",
        "parity": "GOLDEN",
    }
    for name in names:
        target = of.get(name, "build")
        values = {needed[target]: "f3_all/final.pth"} if target in needed else {}
        values |= {"DEVICE": "cpu"} if target in ("eval", "train-f1", "reproduce") else {}
        values |= {name: value}
        if how == ".env":
            lines = [f"{n}={v}" for n, v in values.items()]
            (project / ".env").write_text("\n".join(lines).replace(value, value.replace("\n", " ")))
            done = run(project, target)
        elif how == "environment":
            done = run(project, target, **values)
        else:
            done = run(project, target, *(f"{n}={v}" for n, v in values.items()))
        assert done.returncode in (0, 2), (name, done.stderr)
        assert len(done.stderr.splitlines()) <= 2, (name, done.stderr)
        assert not mark.exists(), (name, target)


def test_values_arrive_as_they_are(project: Path, tmp_path: Path):
    told = tmp_path / "told"
    (project / "scripts" / "run.sh").write_text(f"#!/bin/bash\nprintf '%s\\0' \"$@\" >{told}\n")
    out = "/tmp/it's $HOME `x` \u00fc #1"
    run(project, "demo", f"OUT={out}", "ARGS=--scenes '3 4' --x=\"$HOME\"")
    words = told.read_text().split("\0")[:-1]
    assert words == [
        *("--write", out, "train", "python", "tools/demo.py", "--out", out),
        *("--scenes", "3 4", "--x=$HOME"),
    ]


def test_dotenv_is_data(project: Path):
    lines = [
        "\ufeffIMAGE=a#b",
        "# IMAGE=none",
        'BASE_IMAGE="with spaces # and hash"  # comment',
        "DEBIAN_MIRROR='$HOME'",
        "PIP_INDEX_URL=$(touch x) # comment",
        "EXTRA_CA=~/ca.pem",
        "export NETRC=/a b/c ",
        "MAX_JOBS=",
    ]
    (project / ".env").write_bytes("\r\n".join(lines).encode())
    (project / "scripts" / "build.sh").write_text(
        "#!/bin/bash\nfor n in IMAGE BASE_IMAGE DEBIAN_MIRROR PIP_INDEX_URL EXTRA_CA NETRC "
        'MAX_JOBS; do echo "$n=${!n-unset}"; done\n'
    )
    done = run(project, "build", HOME="/home/me")
    assert done.stdout.splitlines() == [
        "IMAGE=a#b",
        "BASE_IMAGE=with spaces # and hash",
        "DEBIAN_MIRROR=$HOME",
        "PIP_INDEX_URL=$(touch x)",
        "EXTRA_CA=/home/me/ca.pem",
        "NETRC=/a b/c",
        "MAX_JOBS=unset",
    ]
    (project / ".env").write_text("IMAGE\n")
    done = run(project, "build")
    assert done.returncode == 2 and ".env, line 1: NAME=value expected" in done.stderr


def test_names_are_the_variables():
    text = (REPOSITORY / "Makefile").read_text()
    listed = re.search(r"^NAMES := ((?:.*\\\n)*.*)$", text, re.M)[1].replace("\\\n", " ").split()
    assert listed == re.findall(r"^([A-Z_]+) \?=", text, re.M)


def test_where_the_data_are_reaches_every_target(project: Path, tmp_path: Path):
    data = tmp_path / "nuscenes"
    data.mkdir()
    result = project / "results_nusc.json"
    result.touch()
    file = "f3_all/final.pth"
    for target, option, more in (
        ("data", "--root-path", []),
        ("eval", "--nuscenes", ["GPUS=0", f"CKPT={file}"]),
        ("detect", "--nuscenes", ["GPUS=0", f"CKPT={file}"]),
        ("train-f1", "--nuscenes", ["GPUS=0"]),
        ("reproduce", "--nuscenes", ["GPUS=0"]),
        ("report", "--dataroot", [f"RESULT={result}"]),
        ("video", "--dataroot", [f"RESULT={result}"]),
    ):
        done = run(project, "-n", target, f"NUSCENES={data}", "VERSION=v1.0-mini", *more)
        mount = "--write" if target == "data" else "--read"
        assert f"{mount} {data} " in done.stdout and f"{option} {data} " in done.stdout
        assert "--version v1.0-mini" in done.stdout
        done = run(project, "-n", target, *more, NUSCENES_DIR=str(data))
        assert f"{option} {data} " in done.stdout
