"""What the tests share: golden files, a small generated data set, skips that say why."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported anywhere: tests share few cores with the processes they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

import pftrack  # noqa: F401 (the compatibility module comes first)
from pftrack.paths import CODE

PROCESSES = CODE / "tests" / "processes"
GOLDEN_PLACES = (CODE / "tests" / "golden", CODE.parents[1] / "shared" / "golden")


def _engine_answers() -> bool:
    engine = os.environ.get("RUNTIME", "docker")
    if shutil.which(engine) is None:
        return False
    try:
        return subprocess.run([engine, "info"], capture_output=True, timeout=20).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of ``processes/``; those that train in forks come first; skip what this
    machine cannot run, with the reason."""
    items.sort(key=lambda item: item.get_closest_marker("forks") is None)
    for item in items:
        if item.path.is_relative_to(PROCESSES):
            item.add_marker(pytest.mark.process)
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu:
        from pftrack.devices import find_gpus

        found = find_gpus()
        if not found.usable:
            for item in gpu:
                item.add_marker(pytest.mark.skip(reason=found.problem or "no NVIDIA GPU here"))
    docker = [item for item in items if item.get_closest_marker("docker")]
    if docker:
        expression = config.getoption("-m")
        if "docker" not in expression or "not docker" in expression:
            reason = "container tests take an image: make test-images"
        elif not _engine_answers():
            reason = "no container engine answers here"
        else:
            return
        for item in docker:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """The folder of golden files: PFTRACK_GOLDEN, else tests/golden, else ../shared/golden."""
    named = os.environ.get("PFTRACK_GOLDEN")
    places = (Path(named),) if named else GOLDEN_PLACES
    for place in places:
        if (place / "README.md").is_file():
            return place
    pytest.skip(f"no golden files in {' or '.join(map(str, places))}: set PFTRACK_GOLDEN")


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a generated v1.0-mini: two scenes of six key frames, images of 400x225. Read only."""
    from laboratory.demo_data import generate_dataset

    root = tmp_path_factory.mktemp("demo") / "nuscenes"
    generate_dataset(root, scenes=2, frames=6, image_size=(400, 225), seed=0, workers=1)
    return root


@pytest.fixture(scope="session")
def demo_infos(demo_data: Path) -> dict[str, Path]:
    """Info files of ``demo_data``, by split: ``train`` and ``val`` (one scene each). Read only."""
    from pftrack.conversion.run import convert_folder

    train, val = convert_folder(demo_data, "v1.0-mini", demo_data.parent)
    return {"train": train, "val": val}


@pytest.fixture
def without_tf32() -> Iterator[None]:
    """A GPU multiplies and convolves float32 in all its digits, for this test alone."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
