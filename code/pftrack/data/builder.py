"""Recordings to a dataset: nuScenes tables, images, splits, info files.

The tables are nuScenes' own, and the info files are made from them by the converter that makes
nuScenes': velocities, futures and visibility have one home.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from pftrack.conversion.run import convert_folder
from pftrack.data.plausibility import check_recording
from pftrack.data.records import Recording
from pftrack.data.tables import fixed_tables, image_name, recording_tables
from pftrack.datasets.image_loading import read_image
from pftrack.errors import UserError
from pftrack.files import write_json
from pftrack.nuscenes.splits import CUSTOM_FILE
from pftrack.nuscenes.table_files import Table, write_tables
from pftrack.nuscenes.versions import TRAINVAL

VERSION = TRAINVAL  # what the folder of an own dataset's tables is called


class InfoBuilder:
    """Collects recordings, checks them, and writes a dataset that everything here reads.

    ::

        builder = InfoBuilder()
        builder.add(Recording("monday", cameras, frames))
        builder.write("data/mine", val=["monday"])
    """

    def __init__(self) -> None:
        self.recordings: list[Recording] = []

    def add(self, recording: Recording) -> None:
        """Take one more recording.

        Raises:
            UserError: it is not what it should be (:mod:`pftrack.data.plausibility`), or one of
                its name is there already.
        """
        check_recording(recording)
        if any(recording.name == other.name for other in self.recordings):
            raise UserError(f"two recordings are called '{recording.name}'")
        self.recordings.append(recording)

    def write(self, root: str | Path, val: Sequence[str], copy: bool = False) -> list[Path]:
        """Write ``root``: ``v1.0-trainval/``, ``samples/`` and the info files; all or nothing.

        Args:
            val: names of the recordings to evaluate on; the others are trained on.
            copy: copy the images; False: link to them.

        Returns:
            the info files.

        Raises:
            UserError: ``root`` is there already, no recording, an unknown name in ``val``, an
                image that cannot be read or does not fit its camera.
        """
        root = Path(root)
        names = [recording.name for recording in self.recordings]
        if not names:
            raise UserError("no recording to write")
        if unknown := [name for name in val if name not in names]:
            raise UserError(
                f"no recording '{unknown[0]}' to evaluate: there are {', '.join(names)}"
            )
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise UserError(f"{root} is not empty: name a new folder for the dataset")
        partial = root.absolute().with_name(f".{root.absolute().name}.partial")
        if partial.exists():
            shutil.rmtree(partial)
        try:
            self._write(partial, val, copy)
            if root.is_dir():
                root.rmdir()
            partial.rename(root)
        finally:
            if partial.exists():
                shutil.rmtree(partial)
        return convert_folder(root, VERSION, root)

    def _write(self, root: Path, val: Sequence[str], copy: bool) -> None:
        from tqdm import tqdm

        (root / "maps").mkdir(parents=True)
        (root / "maps" / "none.png").touch()  # the devkit looks whether it is there
        for recording in tqdm(self.recordings, "recordings", unit="recording", leave=False):
            _check_images(recording)
            _place_images(recording, root, copy)
        write_tables(root / VERSION, self._tables())
        splits = {
            "train": [r.name for r in self.recordings if r.name not in val],
            "val": list(val),
        }
        write_json(root / VERSION / CUSTOM_FILE, {k: v for k, v in splits.items() if v})

    def _tables(self) -> Iterable[dict[str, Table]]:
        yield fixed_tables(self.recordings)
        for recording in self.recordings:
            yield recording_tables(recording)


def _check_images(recording: Recording) -> None:
    """The first image of every camera can be read and holds the principal point."""
    for camera in recording.cameras:
        path = next(
            (f.images[camera.name] for f in recording.frames if camera.name in f.images), ""
        )
        if not path:
            continue
        height, width = read_image(path).shape[:2]
        x, y = camera.intrinsic[0][2], camera.intrinsic[1][2]
        if not (0.1 * width < x < 0.9 * width and 0.1 * height < y < 0.9 * height):
            raise UserError(
                f"recording '{recording.name}', camera '{camera.name}': the principal point "
                f"({x:g}, {y:g}) is not near the middle of its images ({width} x {height}): is the "
                "intrinsic for images of another size?"
            )


def _place_images(recording: Recording, root: Path, copy: bool) -> None:
    for number, frame in enumerate(recording.frames):
        for name, source in frame.images.items():
            source = Path(source).absolute()
            if not source.is_file():
                raise UserError(
                    f"recording '{recording.name}', frame {number}: no image {source} of '{name}'"
                )
            target = root / image_name(recording, name, number, source)
            target.parent.mkdir(parents=True, exist_ok=True)
            if copy:
                shutil.copyfile(source, target)
            else:
                target.symlink_to(source)
