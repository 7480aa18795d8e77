"""What a training run says about the code it ran: from git, or from the image."""

from __future__ import annotations

import pytest

from pftrack import revision as state


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
