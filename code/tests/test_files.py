"""Files are complete or not there, whatever happens while they are written."""

import errno
import json
import os

import pytest

from pftrack.files import atomic, atomic_path, write_json


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("mode, content", [("w", "zwölf\n"), ("wb", b"\x00\xff")])
def test_a_file_appears_when_the_block_ends(tmp_path, mode, content):
    path = tmp_path / "new" / "folder" / "file"
    with atomic(path, mode) as file:
        file.write(content)
        assert not path.exists()
    assert path.read_bytes() == (content.encode("utf-8") if mode == "w" else content)
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_error_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, problem):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(problem), atomic(path) as file:
        file.write("half of the new")
        raise problem
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    path.write_text("old")

    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"), atomic(path) as file:
        file.write("new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, os.replace

    def watched_sync(descriptor):
        order.append(os.readlink(f"/proc/self/fd/{descriptor}").rpartition("/")[2])
        sync(descriptor)

    def watched_replace(source, target):
        order.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(os, "replace", watched_replace)
    with atomic(tmp_path / "file") as file:
        file.write("content")
    assert order == [f".file.{os.getpid()}.tmp", "rename", tmp_path.name]


def test_what_an_earlier_run_left_is_in_nobodys_way(tmp_path):
    (tmp_path / f".link.{os.getpid()}.tmp").symlink_to("nowhere")
    (tmp_path / "target").write_text("content")
    with atomic_path(tmp_path / "link") as temporary:
        temporary.symlink_to("target")
    assert (tmp_path / "link").read_text() == "content"
    assert names(tmp_path) == ["link", "target"]


def test_content_that_is_no_json_writes_nothing(tmp_path):
    path = tmp_path / "file.json"
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert names(tmp_path) == []
    write_json(path, {"a": [1.5, "ö"]})
    assert json.loads(path.read_text()) == {"a": [1.5, "ö"]}
