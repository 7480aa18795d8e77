"""scripts/lint.sh and who calls it: pre-commit's hooks, .ci/run, GitHub's workflow."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pftrack.paths import REPOSITORY

LINT = REPOSITORY / "scripts" / "lint.sh"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with the script and a large file that git knows."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(LINT, tmp_path / "scripts")
    (tmp_path / "a film.mp4").write_bytes(bytes(3 << 20))
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def lint(project: Path, *names: str) -> subprocess.CompletedProcess:
    command = ["scripts/lint.sh", *names]
    return subprocess.run(command, cwd=project, capture_output=True, text=True)


def test_a_large_file_is_named_and_checks_after_it_still_run(project: Path) -> None:
    done = lint(project, "sizes", "mypy")
    assert done.returncode == 1
    assert "more than 2 MB: a film.mp4" in done.stderr and "failed: sizes mypy" in done.stderr
    (project / "a film.mp4").write_bytes(b"short")
    assert lint(project, "sizes").returncode == 0


def test_a_check_that_is_none(project: Path) -> None:
    done = lint(project, "spelling")
    assert done.returncode == 2 and done.stderr == "error: no check 'spelling'\n"


def test_hooks_are_checks_of_the_script() -> None:
    (repo,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"  # nothing is downloaded
    for hook in repo["hooks"]:
        script, name = hook["entry"].split()
        assert script == "scripts/lint.sh" and f"check_{name}()" in LINT.read_text()
        assert hook["language"] == "system" and hook["pass_filenames"] is False


def test_ci_runs_the_same_script_and_github_runs_ci() -> None:
    assert "step lint scripts/lint.sh\n" in (REPOSITORY / ".ci" / "run").read_text()
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yaml").read_text())
    assert {"run": ".ci/run"} in workflow["jobs"]["run"]["steps"]


def test_the_devcontainer_stands_on_the_service_and_the_image_dev() -> None:
    folder = REPOSITORY / ".devcontainer"
    container = json.loads((folder / "devcontainer.json").read_text())
    base, above = (
        yaml.safe_load((folder / name).read_text()) for name in container["dockerComposeFile"]
    )
    service = container["service"]
    assert service in base["services"] and service in above["services"]
    target = above["services"][service]["build"]["target"]
    assert f"AS {target}\n" in (REPOSITORY / "docker" / "Dockerfile").read_text()
