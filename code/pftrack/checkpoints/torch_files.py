"""torch's own files, zip archives and the older stream, read by the unpickler of this project.

``torch.load`` hands states of a pickle to numpy's types and arrays, even with ``weights_only``;
here nothing but buffers, compared with what is asked of them, becomes a tensor.
The formats (``torch.serialization``): a zip has a pickle, ``data.pkl``, whose persistent ids name
members ``data/KEY`` with a storage each; a stream is five pickles and then the storages in order.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from pftrack.pickles import Maker, SafeUnpickler, StandIn, settle

_STREAM_MAGIC = 0x1950A86A20F9469CFC6C
_STREAM_VERSION = 1001
PLAIN_PICKLE = "it is a plain pickle, not a file of torch.save"
_OF_PLAIN_PICKLES = ("numpy", "torch")  # libraries whose arrays one may hold
_EXPANDED = 1 << 24  # a view of repeated elements may have as many
_DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
    "Untyped": torch.uint8,
}
_DTYPE_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in _DTYPES.values()}


class _Type(Maker):
    """A storage's type, an argument of persistent ids; or a dtype, a value like others."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(str(dtype))
        self.dtype = dtype

    def settle(self, walk: Callable[[Any], Any]) -> torch.dtype:
        return self.dtype


class _Storage(StandIn):
    """Numbers in a row; read when the first tensor needs them."""

    __slots__ = ("dtype", "numel", "read", "values")

    def __init__(self, dtype: torch.dtype, numel: int, read: Callable[[], bytes | bytearray]):
        self.dtype, self.numel, self.read = dtype, numel, read
        self.values: Tensor | None = None

    def tensor(self) -> Tensor:
        """[numel] of the storage's type."""
        if self.values is None:
            self.values = tensor_from_bytes(self.read(), self.dtype, self.numel)
        return self.values

    def settle(self, walk: Callable[[Any], Any]) -> Tensor:
        return self.tensor()


class TensorStandIn(StandIn):
    """A view of a storage, or a tensor that is there already."""

    __slots__ = ("view",)

    def __init__(self, view: Callable[[], Tensor]) -> None:
        self.view = view

    def settle(self, walk: Callable[[Any], Any]) -> Tensor:
        return self.view()


def tensor_from_bytes(data: bytes | bytearray, dtype: torch.dtype, numel: int) -> Tensor:
    """[numel] numbers from exactly as many bytes as they have.

    Raises:
        pickle.UnpicklingError: there are more or fewer.
    """
    if len(data) != numel * dtype.itemsize:
        raise pickle.UnpicklingError(f"a storage of {numel} {dtype} has {len(data)} bytes")
    if not data:
        return torch.empty(0, dtype=dtype)
    buffer = bytearray(data) if isinstance(data, bytes) else data
    if dtype == torch.bool:  # any other byte than 0 and 1 would be no truth value
        return torch.frombuffer(buffer, dtype=torch.uint8) != 0
    return torch.frombuffer(buffer, dtype=dtype)


def view_of(values: Tensor, offset: Any, size: Any, stride: Any) -> Tensor:
    """A view of ``values`` [n], every element of it inside.

    Raises:
        pickle.UnpicklingError: it reaches outside, or repeats elements beyond measure.
    """
    size, stride = tuple(size), tuple(stride)
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor has a shape that makes no sense")
    if len(size) > 32 or max(numbers) >= 1 << 62:
        raise pickle.UnpicklingError("a tensor has a shape that makes no sense")
    count = 1
    for n in size:
        count *= n
    if count and offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) >= len(
        values
    ):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    if count > max(len(values), _EXPANDED):
        raise pickle.UnpicklingError(f"a tensor repeats its elements to {count}")
    if not count:
        return torch.empty(size, dtype=values.dtype)
    return values.as_strided(size, stride, offset)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_more: Any) -> StandIn:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor has no storage")
    return TensorStandIn(lambda: view_of(storage.tensor(), offset, size, stride))


def _rebuild_parameter(data: Any, *_more: Any) -> Any:
    if not isinstance(data, StandIn):
        raise pickle.UnpicklingError("a parameter has no tensor")
    return data


def _size(sizes: Any = ()) -> tuple[Any, ...]:
    return tuple(sizes)


MAKERS: dict[tuple[str, str], Maker] = {
    ("torch._utils", "_rebuild_tensor"): Maker("tensor", _rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Maker("tensor", _rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Maker("parameter", _rebuild_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): Maker("parameter", _rebuild_parameter),
    ("torch", "Size"): Maker("torch.Size", _size),
    ("torch", "device"): Maker("torch.device", lambda *parts: ":".join(map(str, parts))),
    **{("torch", name): _Type(dtype) for name, dtype in _DTYPE_NAMES.items()},
    **{
        (module, f"{name}{what}"): _Type(dtype)
        for name, dtype in _DTYPES.items()
        for module in ("torch", "torch.cuda", "torch.tensor", "torch.storage")
        for what in ("Storage", "Tensor")
    },
}


def load_zip(path: Path, without: Sequence[str] = ()) -> Any:
    """The object that ``torch.save`` wrote, tensors on the CPU.

    Args:
        without: entries of a dict at the top that are left out; their tensors are not read.

    Raises:
        pickle.UnpicklingError: it refers to code, or makes no sense.
        zipfile.BadZipFile, OSError, ...: the archive is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise pickle.UnpicklingError("the archive has no data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in members and archive.read(f"{folder}byteorder") != b"little":
            raise pickle.UnpicklingError("it was written by a machine of another byte order")
        storages: dict[str, _Storage] = {}

        def persistent(pid: Any) -> _Storage:
            kind, key, numel = _storage_id(pid)
            if key not in storages:
                storages[key] = _Storage(kind, numel, lambda: archive.read(f"{folder}data/{key}"))
            found = storages[key]
            if (found.dtype, found.numel) != (kind, numel):
                raise pickle.UnpicklingError("a storage has two types")
            return found

        with archive.open(pickles[0]) as file:
            content = SafeUnpickler(file, MAKERS, persistent).load()
        return settle(_leave_out(content, without))


def load_stream(path: Path, without: Sequence[str] = ()) -> Any:
    """The object in torch's older format; arguments and errors as those of :func:`load_zip`."""
    with path.open("rb") as file:
        try:
            magic = SafeUnpickler(file).load()
        except pickle.UnpicklingError as error:
            if any(f"'{library}." in str(error) for library in _OF_PLAIN_PICKLES):
                raise pickle.UnpicklingError(PLAIN_PICKLE) from None
            raise
        if magic != _STREAM_MAGIC:
            raise pickle.UnpicklingError(PLAIN_PICKLE)
        if SafeUnpickler(file).load() != _STREAM_VERSION:
            raise pickle.UnpicklingError("it is of another version of torch's older format")
        system = SafeUnpickler(file).load()
        if isinstance(system, dict) and system.get("little_endian") is False:
            raise pickle.UnpicklingError("it was written by a machine of another byte order")
        storages: dict[str, _Storage] = {}
        data: dict[str, bytes] = {}

        def persistent(pid: Any) -> _Storage:
            kind, key, numel = _storage_id(pid)
            view = pid[5] if len(pid) > 5 else None
            storage = storages.setdefault(key, _Storage(kind, numel, lambda: data[key]))
            if view is None:
                return storage
            _view_key, offset, length = view
            part = _Storage(kind, length, bytes)
            part.read = lambda: _part(data[key], offset, length, kind)
            return part

        content = SafeUnpickler(file, MAKERS, persistent).load()
        keys = SafeUnpickler(file).load()
        if not isinstance(keys, list) or set(keys) != set(storages):
            raise pickle.UnpicklingError("its list of storages does not match")
        for key in keys:
            numel = struct.unpack("<q", read_exactly(file, 8))[0]
            data[key] = read_exactly(file, numel * storages[key].dtype.itemsize)
        return settle(_leave_out(content, without))


def read_exactly(file: IO[bytes], n: int) -> bytes:
    """``n`` bytes, memory for which is taken only when the file has them.

    Raises:
        pickle.UnpicklingError: it ends before.
    """
    start = file.tell()
    end = file.seek(0, 2)
    file.seek(start)
    if not 0 <= n <= end - start:
        raise pickle.UnpicklingError("the file ends too early")
    return file.read(n)


def _storage_id(pid: Any) -> tuple[torch.dtype, str, int]:
    """Type, key and number of elements in ("storage", type, key, location, numel, ...)."""
    if (
        not isinstance(pid, tuple)
        or len(pid) < 5
        or pid[0] != "storage"
        or not isinstance(pid[1], _Type)
        or not isinstance(pid[2], str)
        or type(pid[4]) is not int
    ):
        raise pickle.UnpicklingError("it refers to something outside of it")
    return pid[1].dtype, pid[2], pid[4]


def _part(data: bytes, offset: Any, length: Any, dtype: torch.dtype) -> bytes:
    if type(offset) is not int or type(length) is not int or min(offset, length) < 0:
        raise pickle.UnpicklingError("a part of a storage makes no sense")
    return data[offset * dtype.itemsize : (offset + length) * dtype.itemsize]


def _leave_out(content: Any, names: Sequence[str]) -> Any:
    if names and isinstance(content, dict):
        return {k: v for k, v in content.items() if k not in names}
    return content
