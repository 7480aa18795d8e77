"""The documents are true: links lead somewhere, targets, variables, files and options exist."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from documents import DOCUMENTS, FENCE, PLACEHOLDERS, commands

from pftrack.paths import CODE, REPOSITORY

# Where the suite runs what the documents name: a test file, or the reason why none does.
# make's targets are one command each (test_makefile.py checks it); listed is what they run.
RUN_BY = {
    "tools/baseline.py": "commands/test_baseline.py",
    "tools/battery.py": "laboratory/battery/test_battery.py",
    "tools/bench.py": "processes/test_tools.py",
    "tools/check_parity.py": "processes/test_tools.py",
    "tools/compare.py": "commands/test_compare.py",
    "tools/create_data.py": "processes/test_command_lines.py",
    "tools/demo.py": "half an hour of CI: its stages' commands are run one by one, the order of "
    "stages and what an interruption leaves by processes/test_demo.py",
    "tools/detect.py": "processes/test_tools.py",
    "tools/dist_test.sh": "processes/test_tools.py",
    "tools/dist_train.sh": "processes/test_training_cli.py",
    "tools/doctor.py": "processes/test_doctor.py",
    "tools/download_checkpoints.py": "processes/test_command_lines.py",
    "tools/eval.py": "processes/test_inference_run.py",
    "tools/evaluate.py": "commands/test_evaluate.py",
    "tools/gpu_check.py": "processes/test_gpu_check.py",
    "tools/export.py": "deployment/test_export.py",
    "tools/import_data.py": "processes/test_own_data.py",
    "tools/inspect_checkpoint.py": "processes/test_command_lines.py",
    "tools/make_demo_data.py": "processes/test_command_lines.py",
    "tools/make_video.py": "processes/test_command_lines.py",
    "tools/view.py": "visualization/test_rerun_stream.py; the viewer takes a screen",
    "tools/report.py": "processes/test_tools.py",
    "tools/reproduce.py": "tracking/test_scene_results.py",
    "tools/retrain.py": "processes/test_retraining.py",
    "tools/run_notebooks.py": "processes/test_notebooks.py",
    "tools/slurm_eval.sh": "processes/test_slurm.py",
    "tools/slurm_job.sh": "processes/test_slurm.py",
    "tools/slurm_train.sh": "processes/test_slurm.py",
    "tools/test_tracking.py": "processes/test_inference_run.py",
    "tools/track_images.py": "deployment/test_example.py",
    "tools/split.py": "commands/test_split.py",
    "tools/train.py": "processes/test_training_cli.py",
    "laboratory.own_data.write": "processes/test_own_data.py",
    "pftrack.config": "processes/test_command_lines.py",
    "pftrack.training.export": "processes/test_training_resume.py",
    "scripts/build.sh": "processes/test_makefile.py",
    "scripts/lint.sh": "processes/test_lint.py",
    "scripts/lock.sh": "asks the package index for versions",
    "scripts/test_images.sh": "takes a container engine and an hour: make test-images",
    "docker": "takes a container engine: containers/test_services.py where one answers",
    "tensorboard": "a foreign program that serves until it is stopped",
    "ssh": "takes a second machine",
    "sbatch": "takes Slurm: processes/test_slurm.py where it is installed",
}


def anchors(text: str) -> set[str]:
    """GitHub's anchors of a document's headings."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path) if path else document
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            broken.append(target)
    assert not broken


def test_every_document_is_reached_from_the_readme() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    missing = [p.name for p in (REPOSITORY / "docs").glob("*.md") if f"docs/{p.name}" not in text]
    assert not missing


@cache
def makefile() -> tuple[set[str], set[str]]:
    """(targets, variables) of the Makefile."""
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = {
        t for line in re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE) for t in line.split()
    }
    return targets, set(re.findall(r"^([A-Z_]+) \?=", text, re.MULTILINE))


def test_make_commands_name_targets_and_variables_that_exist() -> None:
    targets, variables = makefile()
    found = commands("make ")
    assert len(found) > 20
    wrong = []
    for document, command in found:
        for word in shlex.split(command)[1:]:
            name, equals, _ = word.partition("=")
            if word.startswith("-") or name in PLACEHOLDERS:
                continue
            if name.strip("[]") not in (variables if equals else targets):
                wrong.append((document, command, word))
    assert not wrong


def test_files_that_documents_name_exist() -> None:
    """Paths below code/ in backquotes, and what python and bash are to run."""
    wrong = []
    runs = ("python tools/", "bash tools/", "python ../")
    folders = ("projects/", "tools/", "scripts/", "pftrack/", "laboratory/", "tests/", ".ci/")
    for start in (*runs, *folders):
        for document, command in commands(start):
            words = command.split()
            path = words[1] if words[0] in ("python", "bash") else words[0]
            path = path.split("::")[0].rstrip(".,:")
            if (
                "NAME" in path
                or any(c in path for c in "<>*{}$")
                or path.startswith("tools/...")
                or "..." in path
            ):
                continue
            if not ((CODE / path).exists() or (REPOSITORY / path).exists()):
                wrong.append((document, command))
    assert not wrong


def test_every_command_is_run_by_a_test_or_has_a_reason() -> None:
    named = {f"tools/{path.name}" for path in (CODE / "tools").iterdir() if path.is_file()}
    for start in ("python -m ", "docker ", "tensorboard ", "ssh ", "sbatch ", "scripts/"):
        for _, command in commands(start):
            words = command.split()
            name = words[2] if words[:2] == ["python", "-m"] else words[0]
            if start != "scripts/" or len(words) > 1 or name in ("scripts/lock.sh",):
                named.add(name)
    named -= {"scripts/run.sh"}  # what make calls for everything
    assert not named - set(RUN_BY), "neither run by a test nor listed with the reason"
    for name, by in RUN_BY.items():
        if by.endswith(".py") and " " not in by:
            word = name.rpartition("/")[2].rpartition(".")[0] if "/" in name else name
            assert word in (CODE / "tests" / by).read_text(), f"{by} does not run {name}"
