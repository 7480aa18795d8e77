"""Splits by name and by file; what a file of scene names may not be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pftrack.errors import UserError
from pftrack.nuscenes.splits import names_of_scenes, read_split_file, scenes_of_split, split_name


def test_names_files_and_custom_splits(tmp_path: Path) -> None:
    assert "scene-0103" in scenes_of_split(tmp_path, "v1.0-mini", "val")
    folder = tmp_path / "v1.0-mini"
    folder.mkdir()
    (folder / "splits.json").write_text(json.dumps({"night": ["b", "a"], "none": []}))
    assert scenes_of_split(tmp_path, "v1.0-mini", "night") == ["b", "a"]
    with pytest.raises(UserError, match=r"split 'none' of .*splits.json is empty"):
        scenes_of_split(tmp_path, "v1.0-mini", "none")
    with pytest.raises(UserError, match="has no split 'dusk'"):
        scenes_of_split(tmp_path, "v1.0-mini", "dusk")
    file = tmp_path / "mine.v2.txt"
    file.write_text("\ufeffscene-1 # the first\n\n# nothing\n  scene-2\r\n")
    assert scenes_of_split(tmp_path, "v1.0-mini", str(file)) == ["scene-1", "scene-2"]
    assert split_name(str(file)) == "mine.v2" and split_name("val") == "val"
    assert names_of_scenes(tmp_path, "v1.0-mini") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read split file .*: No such file"),
        (b"", "is empty"),
        (b"# all of it\n", "is empty"),
        (b"\xff\xfe\x00", "is no text"),
        (b"a\nb\na\n", "has the scene 'a' 2 times"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "split.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_split_file(file)
    assert "\n" not in str(error.value)
