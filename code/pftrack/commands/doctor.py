"""What this machine has and lacks: one line each, in seconds, also before the set-up.

``python tools/doctor.py [--nuscenes FOLDER]``; ``make doctor`` runs it on the machine itself, never
in a container. Uses the standard library alone, on Python 3.9 and later: PyTorch is asked where it
is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pftrack.arguments import Parser
from pftrack.devices import OLDEST_DRIVER, find_gpus, machine_has_gpus, nvidia_smi
from pftrack.nuscenes.versions import SPLITS, info_file_name
from pftrack.paths import CHECKPOINTS_DIR, CODE, REPOSITORY

GB = 1e9
PYTHONS = ((3, 11), (3, 14))
# What the environment takes while it is made, and what `make data` took (README, measured).
SETUP_BYTES, DATA_BYTES = 10 * GB, 9 * GB
# A batch of an f3 clip at 640x1600 is 55 MB, and each loader worker keeps two ready.
SHM_BYTES = 1 * GB


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was looked at.  text: what was found, and what to do where something is to do.
        state: ``ok``; ``todo`` (missing, and not needed for everything); ``WRONG`` (in the way).
    """

    name: str
    text: str
    state: str = "ok"


def driver() -> list[Finding]:
    """NVIDIA's driver, and which CUDA it is for."""
    versions = nvidia_smi("driver_version")
    if not versions:
        if machine_has_gpus():
            todo = "nvidia-smi does not answer: reinstall the driver (after an update: restart)"
            return [Finding("driver", todo, "WRONG")]
        return [Finding("driver", "no NVIDIA GPU here: everything runs on the CPU (GPUS=0)")]
    version = versions[0]
    major = int(re.match(r"\d*", version)[0] or 0)  # type: ignore[index]
    for cuda in (13, 12):
        if major >= OLDEST_DRIVER[cuda]:
            return [Finding("driver", f"{version}, for CUDA={cuda}")]
    oldest = OLDEST_DRIVER[12]
    todo = f"{version} is too old: install {oldest} or newer ({OLDEST_DRIVER[13]} for CUDA 13)"
    return [Finding("driver", todo, "WRONG")]


def gpus() -> list[Finding]:
    """Every GPU with its compute capability and memory, and whether PyTorch can use it."""
    found = [
        Finding(f"GPU {row}", ", compute capability ".join(properties.split(", ")[:2]) + ", "
                + ", ".join(properties.split(", ")[2:]))
        for row, properties in enumerate(nvidia_smi("name,compute_cap,memory.total"))
    ]  # fmt: skip
    if importlib.util.find_spec("torch") is None:
        return found
    import torch

    usable = find_gpus()
    if usable.problem:
        return [*found, Finding("PyTorch", usable.problem, "WRONG")]
    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    return [
        *found,
        Finding("PyTorch", f"{torch.__version__} ({cuda}), {len(usable.usable)} GPU(s)"),
    ]


def python() -> list[Finding]:
    """A Python that the lock is made for: .venv's, or one to make it with."""
    low, high = PYTHONS
    wanted = f"Python {low[0]}.{low[1]} to {high[0]}.{high[1]}"
    own = REPOSITORY / ".venv" / "bin" / "python"
    names = [os.environ.get("PYTHON") or "", *(f"python3.{minor}" for minor in range(11, 15))]
    for name in [str(own), *names, "python3", sys.executable]:
        version = _python_version(name) if name else None
        if version is not None and low <= version <= high:
            where = ".venv" if name == str(own) else shutil.which(name) or name
            return [Finding("Python", f"{version[0]}.{version[1]} ({where})")]
    todo = (
        f"no {wanted} with its venv module (Debian: apt install python3 python3-venv), or PYTHON="
    )
    return [Finding("Python", todo, "todo" if _engine_answers() else "WRONG")]


def _python_version(name: str) -> tuple[int, int] | None:
    program = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    answer = _answer(name, "-c", program)
    major, _, minor = (answer or "").strip().partition(" ")
    return (int(major), int(minor)) if minor.isdigit() else None


def environment() -> list[Finding]:
    """Whether .venv is the lock's, package by package."""
    stamp = REPOSITORY / ".venv" / ".locked"
    if not stamp.is_file():
        return [Finding("environment", "none yet: 'make setup' (any target makes it)", "todo")]
    digest, _, cuda = (*stamp.read_text().split(), "", "", "")[:3]
    lock = REPOSITORY / "docker" / f"requirements{'-cuda12' if cuda == '12' else ''}.lock"
    installer = lock.with_name("installer.lock")
    if digest != hashlib.sha256(lock.read_bytes() + installer.read_bytes()).hexdigest():
        return [Finding("environment", f"not {lock.name}'s: the next target makes it anew", "todo")]
    if Path(sys.prefix).resolve() == stamp.parent.resolve():
        wrong = _other_than_locked(lock.read_text())
        if wrong:
            text = f"{', '.join(wrong)} not as locked: remove .venv, then 'make setup'"
            return [Finding("environment", text, "WRONG")]
    return [Finding("environment", f".venv as docker/{lock.name} has it (CUDA={cuda or 13})")]


def _other_than_locked(lock: str) -> list[str]:
    """Installed packages of another version than the lock's, and a second OpenCV."""
    locked: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9.-]+)==(\S+)", lock, re.MULTILINE):
        locked.setdefault(name, set()).add(version)
    wrong = []
    for distribution in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        version = distribution.version.partition("+")[0]
        if name in locked and version not in locked[name]:
            wrong.append(f"{name} {distribution.version}")
        if name in ("opencv-python", "opencv-contrib-python"):
            wrong.append(f"{name} (over opencv-python-headless)")
    return sorted(wrong)


def disk() -> list[Finding]:
    """Room for the environment and for results."""
    free = shutil.disk_usage(REPOSITORY).free
    made = (REPOSITORY / ".venv" / ".locked").is_file()
    text = f"{free / GB:.0f} GB free in {REPOSITORY}"
    if not made and free < SETUP_BYTES:
        return [
            Finding("disk", f"{text}: the environment takes {SETUP_BYTES / GB:.0f} GB", "WRONG")
        ]
    if free < SETUP_BYTES:
        return [Finding("disk", f"{text}: make room before training (1.1 GB a checkpoint)", "todo")]
    return [Finding("disk", text)]


def memory() -> list[Finding]:
    """Main memory and what loader workers share."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    text = f"{pages / GB:.0f} GB, {os.cpu_count()} cores"
    found = [Finding("memory", text)]
    if pages < DATA_BYTES:
        need = f"{text}: 'make data' of all of nuScenes takes {DATA_BYTES / GB:.0f} GB (mini less)"
        found = [Finding("memory", need, "todo")]
    shm = Path("/dev/shm")
    if shm.is_dir():
        free = shutil.disk_usage(shm).free
        text = f"{free / GB:.1f} GB free"
        if free < SHM_BYTES:
            more = "mount -o remount,size=16G /dev/shm; a container: --shm-size 16g"
            text += f": too few for loader workers: {more}; or ARGS=data.workers_per_gpu=0"
            return [*found, Finding("/dev/shm", text, "WRONG")]
        return [*found, Finding("/dev/shm", text)]
    return found


def docker() -> list[Finding]:
    """Engine, compose and NVIDIA's toolkit, as scripts/lib.sh looks for them."""
    asked = os.environ.get("RUNTIME") == "docker"
    if not _engine_answers():
        what = "not installed" if shutil.which("docker") is None else "no engine answers"
        if asked:
            return [Finding("Docker", f"{what}: start one, or RUNTIME=native", "WRONG")]
        library = REPOSITORY / "scripts" / "lib.sh"
        runtime = _answer("bash", "-c", '. "$0" && pick_runtime', str(library)) or ""
        if runtime.strip() == "podman":
            return [Finding("Podman", "make runs in its containers (or RUNTIME=native)")]
        if os.environ.get("RUNTIME") == "podman":
            return [Finding("Podman", "it or its compose is missing, or RUNTIME=native", "WRONG")]
        return [Finding("Docker", f"{what}: make runs natively, in .venv")]
    if os.environ.get("RUNTIME") == "native":
        return [Finding("Docker", "an engine answers; RUNTIME=native runs without it")]
    if _answer("docker", "compose", "version") is None and shutil.which("docker-compose") is None:
        todo = "neither 'docker compose' nor 'docker-compose': install one, or RUNTIME=native"
        return [Finding("Docker", todo, "WRONG")]
    runtimes = _answer("docker", "info", "--format", "{{json .Runtimes}}") or ""
    hook = shutil.which("nvidia-container-runtime-hook")
    if nvidia_smi("index") and "nvidia" not in runtimes and hook is None:
        todo = "NVIDIA's container toolkit is missing: install it, or RUNTIME=native"
        return [Finding("Docker", todo, "WRONG")]
    return [Finding("Docker", "an engine answers: make runs in containers (or RUNTIME=native)")]


def _engine_answers() -> bool:
    return _answer("docker", "info") is not None


def _answer(*command: str) -> str | None:
    """What a command prints; None when there is none or it fails."""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout


def data(nuscenes: Path) -> list[Finding]:
    """nuScenes' versions and their info files.

    Args:
        nuscenes: the data set's folder; relative to ``code/``.
    """
    root = CODE / nuscenes
    found = []
    for version, splits in SPLITS.items():
        if not (root / version).is_dir():
            continue
        name = f"nuScenes {version.partition('-')[2]}"
        missing = [part for part in ("maps", "samples") if not (root / part).is_dir()]
        infos = [info_file_name(version, split) for split in splits]
        lacking = [info for info in infos if not (root / info).is_file()]
        if missing:
            text = f"{root} has {version}, and no {' and no '.join(missing)}: unpack the rest there"
            found.append(Finding(name, text, "WRONG"))
        elif lacking:
            text = f"no {', '.join(lacking)}: 'make data VERSION={version}'"
            found.append(Finding(name, text, "todo"))
        else:
            found.append(Finding(name, f"in {root}, with info files"))
    if found:
        return found
    todo = f"not in {root}: README, 'Real data in six steps' ('make demo' needs none)"
    return [Finding("nuScenes", todo, "todo")]


def checkpoints() -> list[Finding]:
    """Published and shipped weights."""
    files = json.loads((CHECKPOINTS_DIR / "manifest.json").read_text())["files"]
    paths = [CHECKPOINTS_DIR / file["path"] for file in files if file["path"].endswith(".pth")]
    have = sum(path.is_file() for path in paths)
    text = f"{have} of {len(paths)} published ones in {CHECKPOINTS_DIR}"
    if have < len(paths):
        return [Finding("checkpoints", f"{text}: 'make checkpoints' downloads them", "todo")]
    return [Finding("checkpoints", text)]


def main(arguments: list[str] | None = None) -> int:
    """Print a line for everything. Exit status 1: something is in the way."""
    parser = Parser(prog="doctor", description=__doc__)
    parser.add_argument("--nuscenes", type=Path, default=Path("data/nuscenes"))
    args = parser.parse_args(arguments)
    looks: list[Callable[[], list[Finding]]] = [
        driver, gpus, docker, python, environment, disk, memory,
        lambda: data(args.nuscenes), checkpoints,
    ]  # fmt: skip
    wrong = 0
    for look in looks:
        for finding in look():
            print(f"{finding.state:<6} {finding.name:<17} {finding.text}", flush=True)
            wrong += finding.state == "WRONG"
    print(f"\n{wrong} thing(s) in the way" if wrong else "\nnothing in the way")
    return int(wrong > 0)
