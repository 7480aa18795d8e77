"""What a training run says about the code it ran: from git, or from the image."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from pftrack import revision as state
from pftrack.paths import REPOSITORY
from pftrack.training.record import run_record


@pytest.mark.parametrize(
    ("revision", "commit", "modified"),
    [("0a1b2c", "0a1b2c", False), ("0a1b2c-dirty", "0a1b2c", True), ("", "unknown", False)],
)
def test_without_git_the_image_names_the_commit(monkeypatch, revision, commit, modified):
    monkeypatch.setattr(state, "_git", lambda *_: "unknown")
    monkeypatch.setenv("PFTRACK_REVISION", revision)
    assert state.git_state() == {"git_commit": commit, "git_modified": modified}


def test_the_repository_comes_first(monkeypatch):
    answers = {"rev-parse": "0a1b2c", "status": " M file.py"}
    monkeypatch.setattr(state, "_git", lambda command, *_: answers[command])
    monkeypatch.setenv("PFTRACK_REVISION", "something else")
    assert state.git_state() == {"git_commit": "0a1b2c", "git_modified": True}


@pytest.mark.parametrize(
    ("cuda", "lock"), [("13.0", "requirements"), ("12.8", "requirements-cuda12"), (None, None)]
)
def test_the_lock_is_the_environments(monkeypatch, cuda, lock):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    record = run_record(Path("f1.py"), 0, torch.device("cpu"), 1)
    content = (REPOSITORY / "docker" / f"{lock or 'requirements'}.lock").read_bytes()
    assert record["lock_sha256"] == hashlib.sha256(content).hexdigest()
