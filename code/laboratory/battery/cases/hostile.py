"""Pickles and archives that would run something, fill the memory or write elsewhere."""

from __future__ import annotations

import io
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from laboratory.battery.world import MINI


def hostile() -> st.SearchStrategy[tuple[str, Callable[[str], bytes]]]:
    """(name, bytes of a pickle by the path of a file that its code would make)"""

    def call(module: str, name: str, *arguments: str) -> Callable[[str], bytes]:
        def build(mark: str) -> bytes:
            text = b"".join(
                b"X" + struct.pack("<I", len(a.encode())) + a.encode()
                for a in (argument.replace("MARK", mark) for argument in arguments)
            )
            return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + text + b"tR."

        return build

    calls = [
        ("os", "system", "touch MARK"),
        ("posix", "system", "touch MARK"),
        ("subprocess", "getoutput", "touch MARK"),
        ("builtins", "eval", "open('MARK','w')"),
        ("builtins", "exec", "open('MARK','w')"),
        ("builtins", "open", "MARK", "w"),
        ("__builtin__", "eval", "open('MARK','w')"),
        ("torch", "save", "MARK"),
        ("torch.hub", "load", "MARK"),
        ("numpy", "load", "MARK"),
        ("numpy.core.multiarray", "scalar", "f8"),
        ("numpy", "dtype", "V9999999"),
        ("numpy", "ndarray", "3"),
        ("torch", "Tensor", "3"),
        ("torch._utils", "_rebuild_tensor_v2", "a", "b", "c", "d"),
        ("collections", "OrderedDict", "abc"),
        ("builtins", "getattr", "a", "upper"),
        ("pathlib", "Path", "MARK"),
        ("io", "open", "MARK", "w"),
        ("shutil", "rmtree", "MARK"),
        ("runpy", "run_path", "MARK"),
        ("importlib", "import_module", "antigravity"),
        ("pftrack.errors", "fail", "ran"),
        ("webbrowser", "open", "x"),
    ]
    named = [(f"{m}.{n}", call(m, n, *a)) for m, n, *a in calls]
    raw: list[tuple[str, Callable[[str], bytes]]] = [
        ("table of 2^28", lambda _m: b"\x80\x02Nr\xff\xff\xff\x0f."),
        ("table of 2^26", lambda _m: b"\x80\x02Nr\xff\xff\xff\x03."),
        ("a list within itself", lambda _m: b"\x80\x02]q\x00h\x00a."),
        ("deep", lambda _m: b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b"."),
        ("long bytes", lambda _m: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc."),
        ("laughing", lambda _m: pickle.dumps(_laughing(40), 4)),
        ("random", lambda m: b"\x80\x04" + random.Random(len(m)).randbytes(400)),
        ("instance", lambda m: f"(S'touch {m}'\nios\nsystem\n.".encode()),
    ]
    return st.sampled_from(named + raw)


def _laughing(levels: int) -> Any:
    value: Any = ["ha"]
    for _ in range(levels):
        value = [value, value]
    return {"infos": value, "metadata": {"version": MINI}}


def in_a_member(data: bytes, at: float) -> int:
    """A byte of a zip's largest members: what a checksum covers."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [m for m in archive.infolist() if m.file_size > 1000]
        member = members[int(at * len(members))]
        start = member.header_offset + 30
        name, extra = struct.unpack(
            "<HH", data[member.header_offset + 26 : member.header_offset + 30]
        )
        return start + name + extra + int(at * 9973) % member.file_size


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def torn_zip(path: Path) -> None:
    write_zip(path, {"a.pth": b"x" * 10_000})
    path.write_bytes(path.read_bytes()[:5000])


def zip_link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a.pth")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
