"""Archives that mean harm or look different than expected, and the manifest that names them."""

import io
import json
import math
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from download_server import (
    F3,
    INFOS,
    MODELS,
    WEIGHTS,
    get,
    leftovers,
    make_zip,
    misbehaving_server,
    weights,
)

from pftrack.checkpoints.download import DOWNLOADS
from pftrack.checkpoints.lock import LOCK_NAME
from pftrack.checkpoints.manifest import (
    MANIFEST,
    PublishedFile,
    load_manifest,
)
from pftrack.errors import UserError


@pytest.fixture
def server():
    with misbehaving_server() as httpd:
        yield httpd


def test_damaged_archive_on_first_use_is_not_recorded(tmp_path, server):
    damaged = bytearray(MODELS)
    damaged[5000] ^= 1
    server.content["/PF-Track-Models.zip"] = bytes(damaged)
    with pytest.raises(UserError, match=r"cannot get.*Bad CRC-32"):
        get(tmp_path, server)
    assert len(server.requests) == 2 and not (tmp_path / LOCK_NAME).exists()
    server.content["/PF-Track-Models.zip"] = MODELS
    get(tmp_path, server)
    assert weights(tmp_path) == WEIGHTS


@pytest.mark.parametrize(
    "name", ["../evil.pth", "/tmp/evil.pth", "a/../../evil.pth", "..\\evil.pth"]
)
def test_zip_slip(tmp_path, server, name):
    target = tmp_path / "inside" / "checkpoints"
    server.content["/PF-Track-Models.zip"] = make_zip({name: b"evil"})
    folder = PublishedFile("all", "all/", "PF-Track-Models.zip", ("*.pth",), "ablation")
    with pytest.raises(UserError, match="outside its folder"):
        get(target, server, [folder])
    assert not [p for p in tmp_path.rglob("*evil*")] and leftovers(target) == []


def test_links_in_an_archive(tmp_path, server):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("f3_all/final.pth")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    server.content["/PF-Track-Models.zip"] = buffer.getvalue()
    with pytest.raises(UserError, match="is a link"):
        get(tmp_path, server)


def test_zip_bomb(tmp_path, server):
    bomb = make_zip({"f3_all/final.pth": b"\0" * (80 << 20)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 20
    server.content["/PF-Track-Models.zip"] = bomb
    with pytest.raises(UserError, match="would unpack to"):
        get(tmp_path, server)
    assert not (tmp_path / F3.path).exists() and leftovers(tmp_path) == []


def test_member_that_lies_about_its_size(tmp_path, server):
    honest = make_zip({"f3_all/final.pth": WEIGHTS}, zipfile.ZIP_DEFLATED)
    lying = honest.replace(len(WEIGHTS).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert lying != honest
    server.content["/PF-Track-Models.zip"] = lying
    with pytest.raises(UserError, match="cannot get"):
        get(tmp_path, server)
    assert not (tmp_path / F3.path).exists() and leftovers(tmp_path) == []


def test_folders_patterns_and_optional_members(tmp_path, server):
    server.content["/data.zip"] = make_zip(
        {
            "data/infos/tracking_forecasting_infos_train.pkl": INFOS,
            "data/infos/mini/tracking_forecasting-mini_infos_val.pkl": INFOS,
            "data/infos/notes.txt": b"",
        },
        zipfile.ZIP_DEFLATED,
    )
    infos = PublishedFile("infos", "infos/", "data.zip", ("*infos_*.pkl",), "infos")
    extra = PublishedFile("x", "x.pth", "data.zip", ("x.pth",), "detector", optional=True)
    first, second = get(tmp_path, server, [infos, extra])
    assert second.state == "absent"
    assert [p.relative_to(tmp_path).as_posix() for p in first.paths] == [
        "infos/tracking_forecasting_infos_train.pkl",
        "infos/mini/tracking_forecasting-mini_infos_val.pkl",
    ]
    assert get(tmp_path, server, [infos])[0].state == "present"


def test_unknown_members_are_listed(tmp_path, server):
    server.content["/PF-Track-Models.zip"] = make_zip({"models/small.pth": b"1"})
    with pytest.raises(UserError, match=r"nothing like f3_all/final.pth; it has models/small.pth"):
        get(tmp_path, server)
    assert (tmp_path / DOWNLOADS / "PF-Track-Models.zip").exists()  # not received again
    server.content["/PF-Track-Models.zip"] = make_zip(
        {"a/f3_all/final.pth": b"1", "b/f3_all/final.pth": b"2"}
    )
    with pytest.raises(UserError, match="several members"):
        get(tmp_path / "other", server)


def test_shipped_manifest():
    manifest = load_manifest()
    assert {file.archive for file in manifest.files} == {
        "PF-Track-Models.zip",
        "f1.zip",
        "ablation.zip",
        "data.zip",
    }
    assert len({f.name for f in manifest.files}) == len(manifest.files)
    (f3,) = manifest.select(["f3_all"])
    assert f3.path == "f3_all/final.pth" and f3.published["AMOTA"] == 0.408
    assert manifest.for_path(MANIFEST.parent / "f3_all/final.pth") == f3
    assert manifest.for_path(Path("/elsewhere/final.pth")) is None
    with pytest.raises(UserError, match="nothing published is called 'f9'"):
        manifest.select(["f9"])


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"base_url": "", "license": "", "files": [{"name": "x"}]}',
        '{"base_url": "", "license": "", "files": [{"name": "x", "path": "../x", "archive": "a", '
        '"members": [], "kind": "t"}]}',
    ],
)
def test_malformed_manifest(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(UserError, match=str(path)):
        load_manifest(path)


@pytest.mark.parametrize(
    "published",
    [
        *({"split": "val", "a": 1}, {"split": "val", "AMOTA": "high"}, {"split": 3, "AMOTA": 0.4}),
        *({"split": "val", "AMOTA": math.nan}, {"split": "vla", "AMOTA": 0.4}),
        *({}, {"split": "val"}, {"AMOTA": 0.4}, {"AMOTA": 0.4, "AMOTP": 1.3}),
    ],
)
def test_published_numbers_are_known_metrics(tmp_path: Path, published: dict[str, Any]) -> None:
    content = json.loads(MANIFEST.read_text())
    content["files"][0]["published"] = published
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"the manifest '{path}'.*published"):
        load_manifest(path)
