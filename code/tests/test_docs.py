"""The documents are true: links lead somewhere, targets, variables, files and options exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "code"
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docker").glob("*.md")]
    + [*(ROOT / "checkpoints").glob("*.md")]
)
PLACEHOLDERS = ("TARGET", "VARIABLE")
# Where the suite runs what the documents name: a test file, or the reason why none does.
# make's targets are one command each (test_makefile.py checks it); listed is what they run.
RUN_BY = {
    "tools/bench.py": "test_tools.py",
    "tools/check_parity.py": "test_tools.py",
    "tools/create_data.py": "test_conversion.py",
    "tools/demo.py": "half an hour of CI: its stages' commands are run one by one, the order of "
    "stages and what an interruption leaves by test_demo_command.py",
    "tools/detect.py": "test_tools.py",
    "tools/dist_test.sh": "test_tools.py",
    "tools/dist_train.sh": "test_training_cli.py",
    "tools/download_checkpoints.py": "test_download.py",
    "tools/eval.py": "test_inference_run.py",
    "tools/evaluate.py": "test_evaluate_cli.py",
    "tools/inspect_checkpoint.py": "test_inspect.py",
    "tools/make_demo_data.py": "test_demo_data.py",
    "tools/make_video.py": "test_video.py",
    "tools/report.py": "test_tools.py",
    "tools/reproduce.py": "test_inference_files.py",
    "tools/retrain.py": "test_retraining_run.py",
    "tools/run_notebooks.py": "test_notebooks.py",
    "tools/slurm_train.sh": "test_training_scripts.py",
    "tools/test_tracking.py": "test_inference_run.py",
    "tools/train.py": "test_training_cli.py",
    "pftrack.config": "test_config.py",
    "pftrack.training.export": "test_training_resume.py",
    "scripts/build.sh": "test_makefile.py",
    "scripts/lock.sh": "asks the package index for versions",
    "scripts/test_images.sh": "takes a container engine and an hour: make test-images",
    "docker": "takes a container engine: containers/test_services.py where one answers",
    "tensorboard": "a foreign program that serves until it is stopped",
    "ssh": "takes a second machine",
    "sbatch": "takes a Slurm cluster; tools/slurm_train.sh is run by test_training_scripts.py",
}
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def commands(start: str) -> list[tuple[str, str]]:
    """(document, command) of every line of a code block, and inline code, that begins so."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        lines = []
        for language, block in FENCE.findall(text):
            if language in ("", "bash", "sh", "console"):
                lines += block.replace("\\\n", " ").splitlines()
        lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
        for line in lines:
            for part in re.split(r"&&|;| {3,}", line.split("  #")[0]):  # columns too
                if part.strip().removeprefix("$ ").startswith(start):
                    found.append((document.name, part.strip().removeprefix("$ ")))
    return sorted(set(found))


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
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [p.name for p in (ROOT / "docs").glob("*.md") if f"docs/{p.name}" not in text]
    assert not missing


@cache
def makefile() -> tuple[set[str], set[str]]:
    """(targets, variables) of the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
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
    for start in ("python tools/", "bash tools/", "python ../", "projects/", "tools/", "scripts/"):
        for document, command in commands(start):
            words = command.split()
            path = words[1] if words[0] in ("python", "bash") else words[0]
            path = path.split("::")[0].rstrip(".,:")
            if any(c in path for c in "<>*{}$") or path.startswith("tools/...") or "..." in path:
                continue
            if not ((CODE / path).exists() or (ROOT / path).exists()):
                wrong.append((document, command))
    assert not wrong


def test_options_of_command_lines_exist() -> None:
    """Every --option that a document gives to a tool is in the help of that tool or sub-command."""
    given: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    for document, command in commands("python tools/"):
        words = command.split()
        has_sub = len(words) > 2 and re.fullmatch(r"[a-z][a-z_-]+", words[2])
        tool = (words[1], words[2]) if has_sub else (words[1],)
        for word in words[2:]:
            if option := re.match(r"\[?(--[a-z][\w-]+)", word):
                given.setdefault(tool, set()).add((option[1], document))
    assert given
    wrong = []
    for tool, options in given.items():
        run = subprocess.run(
            [sys.executable, *tool, "--help"], cwd=CODE, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, (tool, run.stderr)
        wrong += [
            (tool, option, document) for option, document in options if option not in run.stdout
        ]
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


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_commands_pass_a_dry_run() -> None:
    """make -n: every variable's value is accepted, and a command comes out of it."""
    seen = set()
    for document, command in commands("make "):
        words = [w for w in shlex.split(command)[1:] if w != "-n"]
        if not words or set(PLACEHOLDERS) & {w.partition("=")[0] for w in words}:
            continue
        if tuple(words) in seen:
            continue
        seen.add(tuple(words))
        run = subprocess.run(
            ["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        needs = "needs CKPT=" in run.stderr or "needs RESULT=" in run.stderr
        assert run.returncode == 0 or (needs and len(words) == 1), (document, command, run.stderr)
    assert len(seen) > 30
