"""make checkpoints against a server that misbehaves and archives that mean harm."""

import contextlib
import http.server
import io
import json
import os
import stat
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from projects.tracking_plugin.checkpoints.download import DOWNLOADS, Store
from projects.tracking_plugin.checkpoints.lock import LOCK_NAME
from projects.tracking_plugin.checkpoints.manifest import (
    MANIFEST,
    Manifest,
    PublishedFile,
    load_manifest,
)
from projects.tracking_plugin.errors import UserError

CODE = Path(__file__).resolve().parents[1]
WEIGHTS = bytes(range(256)) * 2000
INFOS = b"infos" * 1000


def make_zip(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    return buffer.getvalue()


MODELS = make_zip({"PF-Track-Models/f3_all/final.pth": WEIGHTS, "PF-Track-Models/readme": b"hi"})


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.content``; the faults are attributes of the server."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        body = server.content.get(self.path)
        asked = self.headers.get("Range")
        server.requests.append((self.path, asked))
        self.close_connection = True
        status = server.statuses.pop(0) if server.statuses else None
        if body is None or status:
            self.send_response(status or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        etag = server.etags.pop(0) if server.etags else '"one"'
        if asked and self.headers.get("If-Range", etag) != etag:
            asked, start = None, 0
        if asked and server.fault == "ignores ranges":
            asked, start = None, 0
        if asked and start >= len(body):
            self.send_response(416)
            self.end_headers()
            return
        sent = body[start:]
        if asked:
            shown, total = start, len(body)
            if server.fault == "another range":
                shown = start // 2
            if server.fault == "another size":
                total += 1000
            if server.fault == "bytes of another range":
                sent = body[: len(sent)]
            self.send_response(206)
            if server.fault != "no content range":
                self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{total}")
        else:
            self.send_response(200)
        self.send_header("ETag", etag)
        if server.fault == "longer than announced" and not asked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (sent, b"x" * 1000):
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        limit = server.drops.pop(0) if server.drops else len(sent)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(sent[:limit])


@pytest.fixture
def server():
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.content = {"/PF-Track-Models.zip": MODELS}
    httpd.requests, httpd.drops, httpd.statuses, httpd.etags = [], [], [], []
    httpd.fault = None
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()


F3 = PublishedFile("f3_all", "f3_all/final.pth", "PF-Track-Models.zip", ("f3_all/final.pth",), "t")


def make_store(folder: Path, mirrors, files=(F3,)) -> Store:
    if not isinstance(mirrors, list):
        mirrors = [f"http://127.0.0.1:{mirrors.server_port}"]
    return Store(Manifest("", "", tuple(files)), folder, mirrors, sleep=lambda _: None)


def get(folder: Path, mirrors, files=(F3,)):
    return make_store(folder, mirrors, files).get([])


def weights(folder: Path) -> bytes:
    return (folder / "f3_all/final.pth").read_bytes()


def leftovers(folder: Path) -> list[str]:
    """Files that a clean run leaves nowhere."""
    known = (LOCK_NAME, "lock", "final.pth")
    return [p.name for p in folder.rglob("*") if p.is_file() and p.name not in known]


def test_download_unpacks_records_and_verifies(tmp_path, server):
    (first,) = get(tmp_path, server)
    assert first.state == "recorded" and weights(tmp_path) == WEIGHTS
    assert set(json.loads((tmp_path / LOCK_NAME).read_text())) == {F3.path, F3.archive}
    (second,) = get(tmp_path, server)
    assert second.state == "present" and len(server.requests) == 1
    (tmp_path / F3.path).unlink()
    (third,) = get(tmp_path, server)
    assert third.state == "verified" and leftovers(tmp_path) == []


def test_dropped_connections_are_continued(tmp_path, server):
    server.drops = [100_000, 0, 100_000, 0, 0, 200_000]
    get(tmp_path, server)
    assert weights(tmp_path) == WEIGHTS
    asked = [r for _, r in server.requests]
    assert asked[0] is None and asked[1] == "bytes=100000-" and asked[3] == "bytes=200000-"
    assert asked[-1] == "bytes=400000-"


def test_a_later_run_continues(tmp_path, server):
    server.drops = [300_000] + [0] * 20
    with pytest.raises(UserError, match=r"cannot get PF-Track-Models.zip.*5 attempts in a row"):
        get(tmp_path, server)
    server.drops, server.requests = [], []
    get(tmp_path, server)
    assert weights(tmp_path) == WEIGHTS
    assert server.requests == [("/PF-Track-Models.zip", "bytes=300000-")]


@pytest.mark.parametrize(
    "fault",
    [
        "ignores ranges",
        "another range",
        "another size",
        "no content range",
        "bytes of another range",
    ],
)
def test_lies_about_ranges(tmp_path, server, fault):
    """The file starts over and is right, or there is no file at all."""
    server.fault, server.drops = fault, [150_000]
    get(tmp_path, server)
    assert weights(tmp_path) == WEIGHTS
    assert server.requests[1][1] == "bytes=150000-"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("fault", ["another range", "bytes of another range"])
def test_a_server_that_keeps_lying_gives_nothing(tmp_path, server, fault):
    server.fault, server.drops = fault, [150_000] * 50
    with pytest.raises(UserError, match="cannot get"):
        get(tmp_path, server)
    assert not (tmp_path / F3.path).exists()


def test_file_that_changes_while_it_is_received(tmp_path, server):
    """If-Range: the new file comes whole instead of being glued to the old one's first half."""
    server.drops, server.etags = [150_000], ['"one"', '"two"']
    get(tmp_path, server)
    assert weights(tmp_path) == WEIGHTS


def test_wrong_bytes_after_first_use(tmp_path, server):
    get(tmp_path, server)
    (tmp_path / F3.path).unlink()
    server.content["/PF-Track-Models.zip"] = make_zip({"f3_all/final.pth": b"other" + WEIGHTS})
    with pytest.raises(UserError, match="recorded are"):
        get(tmp_path, server)
    assert not (tmp_path / F3.path).exists() and leftovers(tmp_path) == []


def test_changed_file_on_disk_is_named(tmp_path, server):
    get(tmp_path, server)
    (tmp_path / F3.path).write_bytes(b"tampered")
    with pytest.raises(UserError, match=r"f3_all/final.pth.*recorded are.*delete"):
        get(tmp_path, server)


def test_fingerprint_in_the_manifest_beats_first_use(tmp_path, server):
    import dataclasses

    pinned = dataclasses.replace(F3, size=len(WEIGHTS), sha256="0" * 64)
    with pytest.raises(UserError, match="sha256 000000000000"):
        get(tmp_path, server, [pinned])


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


def test_error_page_instead_of_an_archive(tmp_path, server):
    server.content["/PF-Track-Models.zip"] = b"<html>Please log in</html>"
    with pytest.raises(UserError, match="not a zip file"):
        get(tmp_path, server)


def test_longer_than_announced(tmp_path, server):
    """A continued answer must not exceed the size announced before."""
    server.drops = [150_000] + [0] * 20
    with pytest.raises(UserError):
        get(tmp_path, server)
    server.drops, server.fault = [], "longer than announced"
    server.etags = ['"new"'] * 9  # answered whole, in chunks, with bytes appended
    get(tmp_path, server)  # zip files may have bytes behind them: the members are what counts
    assert weights(tmp_path) == WEIGHTS


def test_server_errors_are_retried_and_missing_files_are_not(tmp_path, server):
    server.statuses = [503, 500, 429]
    get(tmp_path, server)
    assert len(server.requests) == 4
    server.content, server.requests = {}, []
    with pytest.raises(UserError, match="HTTP 404"):
        get(tmp_path / "other", server)
    assert len(server.requests) == 1


def test_mirrors_are_tried_in_order(tmp_path, server):
    here = f"http://127.0.0.1:{server.server_port}"
    get(tmp_path, [str(tmp_path / "nowhere"), here + "/missing", here])
    assert weights(tmp_path) == WEIGHTS
    assert [path for path, _ in server.requests] == [
        "/missing/PF-Track-Models.zip",
        "/PF-Track-Models.zip",
    ]


def test_no_server(tmp_path):
    with pytest.raises(UserError, match="refused"):
        get(tmp_path, ["http://127.0.0.1:9"])


@pytest.mark.parametrize("loose", [False, True])
def test_offline_from_a_folder(tmp_path, loose):
    folder, target = tmp_path / "stick", tmp_path / "checkpoints"
    (folder / "f3_all").mkdir(parents=True)
    if loose:
        (folder / "f3_all/final.pth").write_bytes(WEIGHTS)
    else:
        (folder / "PF-Track-Models.zip").write_bytes(MODELS)
    (outcome,) = get(target, [str(folder)])
    assert outcome.state == "recorded" and weights(target) == WEIGHTS
    assert (folder / "PF-Track-Models.zip").exists() != loose


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


def test_two_downloads_at_once(tmp_path, server):
    store = make_store(tmp_path, server)
    with store._alone(), pytest.raises(UserError, match="another download"):
        get(tmp_path, server)


def test_interrupted_run_leaves_nothing_that_looks_finished(tmp_path, server):
    store = make_store(tmp_path, server)

    def interrupt(_):
        raise KeyboardInterrupt

    store.sleep, server.drops = interrupt, [150_000]
    with pytest.raises(KeyboardInterrupt):
        store.get([])
    assert not (tmp_path / F3.path).exists()
    get(tmp_path, server)
    assert server.requests[-1][1] == "bytes=150000-"


def test_shipped_manifest():
    manifest = load_manifest()
    assert set(manifest.archives) == {"PF-Track-Models.zip", "f1.zip", "ablation.zip", "data.zip"}
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


def test_command_line(tmp_path, server):
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "PF-Track-Models.zip").write_bytes(
        make_zip({"f3_all/final.pth": WEIGHTS, "f3_fullres_all/final.pth": WEIGHTS})
    )
    tool = [
        sys.executable,
        str(CODE / "tools/download_checkpoints.py"),
        "--to",
        str(tmp_path / "to"),
    ]
    env = {**os.environ, "PFTRACK_MIRRORS": str(tmp_path / "stick")}
    run = subprocess.run(
        [*tool, "--only", "f3_all,f3_fullres_all"], capture_output=True, text=True, env=env
    )
    assert run.returncode == 0, run.stderr
    assert "recorded  f3_all/final.pth" in run.stdout and "licence" in run.stdout
    run = subprocess.run([*tool, "--only", "f9"], capture_output=True, text=True)
    assert run.returncode == 2 and run.stderr.startswith("error: nothing published is called 'f9'")
    assert len(run.stderr.splitlines()) == 1
