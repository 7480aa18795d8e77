"""Kill commands at random moments, run them again, and compare with an undisturbed run.

A killed command leaves no half-written file under a final name, its lock ends with it, its workers
follow it, and the same command afterwards gives the same files as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laboratory.battery.cases.maker import command
from laboratory.battery.worker import Case, kill, start
from laboratory.battery.world import MINI, World, build_world, preload

_TIMEOUT = 300.0  # s, for a command that nobody kills
_FOLLOW = 20.0  # s, for workers to notice that their parent is gone
_TIMES = ("created", "seconds", "wall_seconds", "eval_time", "evaluation_seconds")
_RECORDS = (".log", ".log.json", ".events")  # of each start, named after its date


@dataclass(frozen=True)
class Job:
    """A command that writes into a folder; ``resumes``: it goes on where it was."""

    name: str
    arguments: Callable[[Path], tuple[Callable[[], int | None], list[str]]]


def run_kills(count: int, seed: int) -> int:
    """Kill ``count`` commands in turn, a line for each. Returns 1 when one left something."""
    folder = Path(tempfile.mkdtemp(prefix="pftrack_kills_"))
    try:
        preload()
        world = World(folder / "world")
        _wait(start(Case("world", "", lambda _: (lambda: _build(world), [])), _place(folder, "w")))
        jobs, wholes = _jobs(world), {}
        for job in jobs:
            began = time.monotonic()
            place = _place(folder, job.name)
            status = _wait(start(_case(job), place))
            if status != 0:
                raise RuntimeError(f"{job.name}: {(place / 'stderr').read_text()[-500:]}")
            wholes[job.name] = fingerprints(place / "out"), time.monotonic() - began
            print(f"{job.name}: {wholes[job.name][1]:.1f} s, {len(wholes[job.name][0])} files")
        rng, bad = random.Random(seed), 0
        for number in range(count):
            job = jobs[number % len(jobs)]
            whole, seconds = wholes[job.name]
            moment, alone = rng.uniform(0, seconds), rng.random() < 0.5
            faults = _kill_once(job, _place(folder, str(number)), moment, alone, whole)
            bad += bool(faults)
            who = "process" if alone else "group"
            print(f"{number + 1}/{count} {job.name}: {who} killed after {moment:.2f} s: ", end="")
            print("; ".join(faults) or "as undisturbed", flush=True)
            shutil.rmtree(folder / str(number))
        print(f"\n{count} kills, seed {seed}, {bad} left something behind")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(bad > 0)


def _build(world: World) -> int:
    build_world(world.folder)
    shutil.copy(world.results, _other(world))
    return 0


def _other(world: World) -> Path:
    """Results to compare with."""
    return world.folder / "other_nusc.json"


def _place(folder: Path, name: str) -> Path:
    (folder / name / "out").mkdir(parents=True)
    return folder / name


def _case(job: Job) -> Case:
    return Case("kill", job.name, lambda folder: job.arguments(folder / "out"))


def _wait(pid: int, timeout: float = _TIMEOUT) -> int:
    """Exit status of a forked command."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    kill(pid)
    os.waitpid(pid, 0)
    return 124


def _kill_once(
    job: Job, place: Path, moment: float, alone: bool, whole: dict[str, str]
) -> list[str]:
    """Kill a command after ``moment`` s, run it again; returns what differs from ``whole``."""
    faults = []
    pid = start(_case(job), place)
    time.sleep(moment)
    try:
        (os.kill if alone else os.killpg)(pid, signal.SIGKILL)
    except ProcessLookupError:  # before it had its group
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if not _group_ends(pid):
        faults.append("workers outlive it")
        os.killpg(pid, signal.SIGKILL)
    (place / "ready").unlink(missing_ok=True)
    status = _wait(start(_case(job), place))
    if status != 0:
        text = (place / "stderr").read_text(errors="replace")
        return [*faults, f"then status {status}: {text.strip()[-300:]}"]
    found = fingerprints(place / "out")
    faults += [f"'{name}' is left" for name in sorted(found.keys() - whole.keys())]
    faults += [f"'{name}' is missing" for name in sorted(whole.keys() - found.keys())]
    both = found.keys() & whole.keys()
    return faults + [f"'{name}' differs" for name in sorted(both) if found[name] != whole[name]]


def _group_ends(group: int) -> bool:
    until = time.monotonic() + _FOLLOW
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def fingerprints(folder: Path) -> dict[str, str]:
    """Name -> digest of what a folder holds, without times, paths and the records of each start."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_dir() or name.endswith(_RECORDS) or "events.out" in name:
            continue
        found[name] = hashlib.sha256(_content(path, str(folder))).hexdigest()
    return found


def _content(path: Path, folder: str) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".json":
        value = _without_times(json.loads(data))
        return json.dumps(value, sort_keys=True).replace(folder, "").encode()
    if path.suffix == ".pth":
        from pftrack.checkpoints.reading import load_checkpoint_file

        content = load_checkpoint_file(path)
        states = [content["state_dict"], content.get("optimizer", {})]
        return repr([_flat(state) for state in states]).encode()
    if path.suffix == ".mp4":  # whole; its last bits vary with memory that the encoder never clears
        import av

        with av.open(str(path)) as video:
            return str([frame.height for frame in video.decode(video=0)]).encode()
    if path.suffix == ".html":
        data = re.sub(rb"\d{4}-\d\d-\d\dT[0-9:+]+|\b\d+\.\d+ s\b", b"", data)
    if path.suffix in (".html", ".md", ".txt", ".yaml", ".py"):
        return data.replace(folder.encode(), b"")
    return data


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if k not in _TIMES}
    return [_without_times(v) for v in value] if isinstance(value, list) else value


def _flat(value: Any) -> Any:
    """A state with digests in the place of its tensors."""
    import torch

    if isinstance(value, torch.Tensor):
        array = value.detach().contiguous().flatten().view(torch.uint8).numpy()
        return hashlib.sha256(array.tobytes()).hexdigest()
    if isinstance(value, dict):
        return {str(key): _flat(v) for key, v in value.items()}
    return [_flat(v) for v in value] if isinstance(value, list | tuple) else value


def _jobs(world: World) -> list[Job]:
    tables = ("--dataroot", world.data, "--version", MINI, "--split", "mini_val")
    low = [
        f"model.runtime_tracker.{kind}_threshold=0.001" for kind in ("output", "score", "record")
    ]
    steps = ["runner.max_iters=6", "checkpoint_config.interval=2", "data.workers_per_gpu=1"]
    infos = ("nuscenes-tracking", "--version", MINI, "--forecasting", "--root-path", world.data)

    def train(out: Path) -> tuple[Callable[[], int | None], list[str]]:
        from pftrack.commands.train import main

        options = [str(world.config), "--work-dir", str(out), "--device", "cpu", "--auto-resume"]
        options += ["--no-validate", "--cfg-options", *world.data_options, *steps]
        return (lambda: main(options)), options

    return [
        Job("train", train),
        Job("data", lambda out: command("create_data", *infos, "--out-dir", out)),
        Job(
            "track",
            lambda out: command(
                *("track", world.config, world.checkpoint, "--gpus", 0, "--format-only"),
                *("--jsonfile_prefix", out, "--cfg-options", *world.data_options, *low),
            ),
        ),
        Job("evaluate", lambda out: command("evaluate", world.results, *tables, "--out", out)),
        Job("report", lambda out: command("report", world.results, *tables, "--out", out)),
        Job(
            "video",
            lambda out: command(
                *("make_video", world.results, "--dataroot", world.data, "--infos"),
                *(world.val_infos, "--out", out, "--camera-width", 120),
            ),
        ),
        Job("baseline", lambda out: command("baseline", world.detections, *tables, "--out", out)),
        Job(
            "compare",
            lambda out: command("compare", world.results, _other(world), *tables, "--out", out),
        ),
    ]
