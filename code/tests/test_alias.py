"""The original's name of the package: the same modules, not copies of them."""

from __future__ import annotations

import importlib

import pytest

import pftrack
import projects.tracking_plugin


def test_the_package_itself() -> None:
    assert projects.tracking_plugin is pftrack


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("structures", "structures"),
        ("models.trackers", "models.trackers"),
        ("models.trackers.tracker", "models.trackers.tracker"),
        ("models.dense_heads.petr_head", "models.dense_heads.petr_head"),
        ("api", "tracking.api"),
        ("inference", "tracking"),
        ("inference.runner", "tracking.runner"),
        ("models.checkpoint_io", "checkpoints.reading"),
    ],
)
def test_modules_are_the_same_objects(theirs: str, ours: str) -> None:
    module = importlib.import_module(f"pftrack.{ours}")
    assert importlib.import_module(f"projects.tracking_plugin.{theirs}") is module
    assert module.__spec__ is not None and module.__spec__.name == f"pftrack.{ours}"


def test_the_tracker_is_where_the_guide_looks_for_it() -> None:
    from pftrack.models.trackers.tracker import Cam3DTracker
    from pftrack.paths import CODE
    from projects.tracking_plugin.models.trackers import tracker

    assert tracker.Cam3DTracker is Cam3DTracker and callable(Cam3DTracker.forward_tracking)
    path = CODE / "projects" / "tracking_plugin" / "models" / "trackers" / "tracker.py"
    assert path.is_file()


def test_no_such_module() -> None:
    with pytest.raises(ModuleNotFoundError, match="nothing"):
        importlib.import_module("projects.tracking_plugin.nothing")
