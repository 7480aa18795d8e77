"""Results of finished scenes on disk, so that interrupted inference goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pftrack.files import atomic, safe_name

Box = dict[str, Any]
META = {
    "use_camera": True,
    "use_lidar": False,
    "use_radar": False,
    "use_map": False,
    "use_external": False,
}


@dataclass
class SceneResult:
    """What inference leaves of one scene.

    Attributes:
        boxes: boxes of each frame in the nuScenes submission format, by sample token.
        seconds: time spent by stage (``decode``: waiting for images).
        not_finite: instances left out because their numbers were not finite.
    """

    boxes: dict[str, list[Box]]
    seconds: dict[str, float]
    not_finite: int = 0


class SceneStore:
    """A folder with one file per finished scene of one run.

    A run is identified by everything its numbers depend on (``identity``): another checkpoint,
    configuration or option never picks up these files.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]):
        text = json.dumps(identity, sort_keys=True, default=str)
        name = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.folder = Path(folder) / f"scenes-{name}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def save(self, scene: str, result: SceneResult) -> None:
        """Store a finished scene; it is there as a whole or not at all."""
        with atomic(self._path(scene)) as file:
            file.write(json.dumps(vars(result)))

    def load(self, scene: str) -> SceneResult | None:
        """A finished scene; None when it is not finished or not readable."""
        try:
            return msgspec.json.decode(self._path(scene).read_bytes(), type=SceneResult)
        except (OSError, msgspec.DecodeError):
            return None

    def _path(self, scene: str) -> Path:
        return self.folder / f"{safe_name(scene)}.json"

    def remove(self) -> None:
        """Delete the folder and its scenes."""
        for file in self.folder.iterdir():
            file.unlink()
        self.folder.rmdir()


def file_identity(path: str | Path) -> list[Any]:
    """Name, size and time of a file: changes when the file does."""
    path = Path(path).resolve()
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]


def write_results(path: str | Path, scenes: Iterable[SceneResult]) -> None:
    """Write a submission file scene by scene; complete or not at all."""
    with atomic(path) as file:
        file.write(f'{{"meta": {json.dumps(META)}, "results": {{')
        separator = ""
        for scene in scenes:
            for token, boxes in scene.boxes.items():
                file.write(f"{separator}{json.dumps(token)}: {json.dumps(boxes)}")
                separator = ", "
        file.write("}}")
