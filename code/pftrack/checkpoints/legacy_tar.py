"""Checkpoints in torch's oldest format (before 0.1.10, 2017): a tar of pickles.

torch itself refuses to read it with ``weights_only=True``. The format (``torch.serialization``):
member ``storages`` lists raw buffers, ``tensors`` lists views of them, ``pickle`` is the saved
object, whose persistent ids are tensor keys. The pickles here are read by an unpickler that knows
``OrderedDict`` and the names of torch's types, and nothing else.
"""

from __future__ import annotations

import pickle
import struct
import tarfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

_DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
}


class _Unpickler(pickle.Unpickler):
    """Rebuilds plain containers; torch's type names stand for their dtype."""

    def __init__(self, file: IO[bytes], tensors: dict[int, Tensor]) -> None:
        super().__init__(file, encoding="latin1")
        self.tensors = tensors

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module in ("torch", "torch.cuda", "torch.tensor", "torch.storage"):
            dtype = _DTYPES.get(name.removesuffix("Storage").removesuffix("Tensor"))
            if dtype is not None:
                return dtype
        raise pickle.UnpicklingError(f"unsafe global {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        return self.tensors[int(pid)]


def _read_exactly(file: IO[bytes], n: int) -> bytes:
    start = file.tell()
    end = file.seek(0, 2)
    file.seek(start)
    if not 0 <= n <= end - start:
        raise pickle.UnpicklingError("the tar member ends too early")
    return file.read(n)


def _ints(file: IO[bytes], n: int) -> tuple[int, ...]:
    return struct.unpack(f"<{n}q", _read_exactly(file, 8 * n))


def _read_storages(file: IO[bytes]) -> dict[int, Tensor]:
    storages: dict[int, Tensor] = {}
    for _ in range(_Unpickler(file, {}).load()):
        key, _location, dtype = _Unpickler(file, {}).load()
        (size,) = _ints(file, 1)
        data = bytearray(_read_exactly(file, size * torch.empty((), dtype=dtype).element_size()))
        storages[key] = torch.frombuffer(data, dtype=dtype) if size else torch.empty(0, dtype=dtype)
    for target, root, offset, size in _Unpickler(file, {}).load():
        storages[target] = storages[root][offset : offset + size]
    return storages


def _read_tensors(file: IO[bytes], storages: dict[int, Tensor]) -> dict[int, Tensor]:
    tensors: dict[int, Tensor] = {}
    for _ in range(_Unpickler(file, {}).load()):
        key, storage, _type = _Unpickler(file, {}).load()
        ndim = struct.unpack("<i4x", _read_exactly(file, 8))[0]
        shape, stride = _ints(file, ndim), _ints(file, ndim)
        (offset,) = _ints(file, 1)
        # as_strided refuses views that reach outside the buffer.
        tensors[key] = storages[storage].as_strided(shape, stride, offset)
    return tensors


def load_legacy_tar(path: Path) -> Any:
    """The object saved in a tar checkpoint, tensors on the CPU.

    Raises:
        pickle.UnpicklingError: it wants to rebuild another type, or is damaged.
    """
    with tarfile.open(path, mode="r:") as tar:

        def member(name: str) -> IO[bytes]:
            file = tar.extractfile(name)
            if file is None:
                raise pickle.UnpicklingError(f"no member '{name}'")
            return file

        storages = _read_storages(member("storages"))
        tensors = _read_tensors(member("tensors"), storages)
        return _Unpickler(member("pickle"), tensors).load()
