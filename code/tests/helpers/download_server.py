"""A server for downloads that misbehaves as told, and a store of checkpoints that asks it."""

import contextlib
import http.server
import io
import threading
import zipfile
from pathlib import Path

from pftrack.checkpoints.download import Store
from pftrack.checkpoints.lock import LOCK_NAME
from pftrack.checkpoints.manifest import Manifest, PublishedFile

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


@contextlib.contextmanager
def misbehaving_server():
    """On 127.0.0.1, with ``content``, faults to set and a list of ``requests``."""
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
