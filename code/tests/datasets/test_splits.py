"""A split's frames come from the info files that have them: datasets, conversion, pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from pftrack.config import load_config
from pftrack.conversion.run import convert_folder
from pftrack.datasets.build import build_dataset, data_options
from pftrack.datasets.infos import load_infos
from pftrack.datasets.splits import load_split
from pftrack.errors import UserError
from pftrack.nuscenes.splits import names_of_scenes
from pftrack.paths import CODE
from pftrack.tracking.job import InferenceJob, build_split, job_identity
from pftrack.visualization import scenes

VERSION = "v1.0-mini"
CONFIG = CODE / "projects" / "configs" / "tracking" / "demo" / "f3_demo.py"


@pytest.fixture
def both(demo_data: Path, tmp_path: Path) -> Path:
    """A split of the generated data's two scenes, one of either info file."""
    path = tmp_path / "both.txt"
    path.write_text("\n".join(names_of_scenes(demo_data, VERSION).values()))
    return path


def options(demo_infos: dict[str, Path], demo_data: Path) -> list[str]:
    sections = {"train": "train", "val": "val", "test": "val"}
    return [
        option
        for section, split in sections.items()
        for option in (
            f"data.{section}.ann_file={str(demo_infos[split])!r}",
            f"data.{section}.data_root={str(demo_data)!r}",
        )
    ]


def test_scenes_of_both_info_files(
    demo_infos: dict[str, Path], demo_data: Path, both: Path, tmp_path: Path
) -> None:
    train, val = (load_infos(demo_infos[split]) for split in ("train", "val"))
    file = load_split(demo_infos["val"], str(both), demo_data)
    assert set(file.scenes) == {*train.scenes, *val.scenes} and len(file) == len(train) + len(val)
    assert [i["timestamp"] for i in file.infos] == sorted(i["timestamp"] for i in file.infos)
    one = tmp_path / "one.txt"
    (token,) = train.scenes
    for name in (token, names_of_scenes(demo_data, VERSION)[token]):
        one.write_text(name)
        assert set(load_split(demo_infos["val"], str(one), demo_data).scenes) == {token}
    one.write_text("scene-9999")
    with pytest.raises(UserError, match=r"1 scene\(s\) of split .* the first is 'scene-9999'"):
        load_split(demo_infos["val"], str(one), demo_data)


def test_training_and_tracking_take_the_split(
    demo_infos: dict[str, Path], demo_data: Path, both: Path, tmp_path: Path
) -> None:
    overrides = data_options(CONFIG, None, None, options(demo_infos, demo_data), str(both))
    dataset = build_dataset(load_config(CONFIG, overrides), "train")
    assert len(dataset.scenes) == 2 and dataset.split == str(both)
    job = InferenceJob(
        str(CONFIG),
        str(CODE.parent / "checkpoints" / "demo" / "f3_demo.pth"),
        str(both),
        tuple(options(demo_infos, demo_data)),
    )
    tracked = build_split(job)
    assert len(tracked.scenes) == 2 and len(tracked[0].targets) == 0
    # Another content of the same file is another job.
    identity = job_identity(job, tracked)
    both.write_text(both.read_text().splitlines()[0])
    assert job_identity(job, build_split(job)) != identity
    with pytest.raises(UserError, match="has no split 'dusk'"):
        build_split(InferenceJob(job.config, job.checkpoint, "dusk", job.overrides))


def test_an_info_file_of_a_split(demo_data: Path, both: Path, tmp_path: Path) -> None:
    (path,) = convert_folder(demo_data, VERSION, tmp_path, split=str(both))
    assert path.name == "tracking_forecasting-mini_infos_both.pkl"
    assert len(load_infos(path).scenes) == 2
    both.write_text("scene-0001")
    with pytest.raises(UserError, match=r"split .* are not in nuScenes v1.0-mini in"):
        convert_folder(demo_data, VERSION, tmp_path, split=str(both))


def test_pictures_of_a_split(demo_data: Path, demo_infos: dict[str, Path], both: Path) -> None:
    found = scenes.load_split(demo_data, VERSION, str(both))
    assert [scene.name for scene in found] == both.read_text().splitlines()
    assert len(scenes.load_split(demo_data, VERSION, "val")) == 1
