"""Small trackers, exported once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracker_files import KINDS, sources


@pytest.fixture(scope="session", params=KINDS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with config.py, tiny.pth and their export as ONNX in ``onnx/``. Read only."""
    from pftrack.deployment.export import export_tracker

    folder = tmp_path_factory.mktemp(request.param)
    config, checkpoint = sources(folder, **KINDS[request.param])
    export_tracker(config, checkpoint, folder / "onnx", slots=90)
    return folder
