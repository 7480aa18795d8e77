"""Checkpoints in torch's oldest format (before 0.1.10, 2017): a tar of pickles.

torch itself refuses to read it with ``weights_only=True``. The format (``torch.serialization``):
member ``storages`` lists raw buffers, ``tensors`` lists views of them, ``pickle`` is the saved
object, whose persistent ids are tensor keys.
"""

from __future__ import annotations

import pickle
import struct
import tarfile
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from pftrack.checkpoints.torch_files import (
    MAKERS,
    TensorStandIn,
    read_exactly,
    tensor_from_bytes,
    view_of,
)
from pftrack.pickles import SafeUnpickler, settle

_MOST = 1 << 20  # entries of a list


def _load(file: IO[bytes], tensors: dict[int, Tensor] | None = None) -> Any:
    """The pickle that comes next; persistent ids are keys of ``tensors``."""

    def persistent(pid: Any) -> TensorStandIn:
        tensor = (tensors or {})[int(pid)]
        return TensorStandIn(lambda: tensor)

    return settle(SafeUnpickler(file, MAKERS, persistent, encoding="latin1").load())


def _entries(file: IO[bytes]) -> range:
    count = _load(file)
    if not isinstance(count, int) or not 0 <= count <= _MOST:
        raise pickle.UnpicklingError("a list has an impossible length")
    return range(count)


def _ints(file: IO[bytes], n: int) -> tuple[int, ...]:
    return struct.unpack(f"<{n}q", read_exactly(file, 8 * n))


def _read_storages(file: IO[bytes]) -> dict[int, Tensor]:
    storages: dict[int, Tensor] = {}
    for _ in _entries(file):
        key, _location, dtype = _load(file)
        (size,) = _ints(file, 1)
        storages[key] = tensor_from_bytes(read_exactly(file, size * dtype.itemsize), dtype, size)
    for target, root, offset, size in _load(file):
        storages[target] = storages[root][offset : offset + size]
    return storages


def _read_tensors(file: IO[bytes], storages: dict[int, Tensor]) -> dict[int, Tensor]:
    tensors: dict[int, Tensor] = {}
    for _ in _entries(file):
        key, storage, _type = _load(file)
        ndim = struct.unpack("<i4x", read_exactly(file, 8))[0]
        shape, stride = _ints(file, ndim), _ints(file, ndim)
        (offset,) = _ints(file, 1)
        tensors[key] = view_of(storages[storage], offset, shape, stride)
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
        return _load(member("pickle"), tensors)
