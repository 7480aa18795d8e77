"""What a worker and its launcher tell each other."""

from pathlib import Path

import pytest

from pftrack.training import launch


def test_without_a_launcher_a_mistake_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(launch._MISTAKE, raising=False)
    assert not launch.hand_over("wrong") and not launch.is_over()


def test_the_first_mistake_is_the_one_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(launch._MISTAKE, str(tmp_path / "mistake"))
    assert not launch.is_over()
    assert launch.hand_over("first") and launch.hand_over("second") and launch.is_over()
    assert (tmp_path / "mistake").read_text() == "first"


def test_only_a_restarted_worker_looks_for_what_came_after_the_launch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(launch._BEGUN, "12.5")
    assert launch.restarted_since() is None
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert launch.restarted_since() == 12.5
