"""Pickles read without trusting them: plain values and numpy's, rebuilt by functions of our own.

A pickle names functions to call and states to give to what they return. Here every name stands for
a function of this project or ends the load, and no state reaches numpy or torch: what is rebuilt
is a :class:`StandIn` until the whole pickle is read, and :func:`settle` turns stand-ins into arrays
after comparing kind, shape and number of bytes.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np

MAX_DEPTH = 60  # containers within containers; info files and checkpoints have at most ten
_MEMORY_PER_BYTE = 40  # of a pickle: small numbers and names grow most when they become objects
_MEMORY_FREE = 1 << 30
_KINDS = "?bhilqBHILQefdFDSUO"  # numpy's characters of the dtypes that hold numbers, texts, objects
_ORDERS = ("<", ">", "=", "|")


class StandIn:
    """Something that a pickle rebuilds, before its parts are known. It takes no state."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError(f"it gives a state to a {type(self).__name__.strip('_')}")

    def settle(self, walk: Callable[[Any], Any]) -> Any:
        """The value itself; ``walk`` settles what it consists of."""
        raise NotImplementedError


class Maker(StandIn):
    """What a pickle gets for a name: it can be called, nothing can be set on it.

    Args:
        call: what a call does; None: the name is only an argument of others.
    """

    __slots__ = ("_call", "name")

    def __init__(self, name: str, call: Callable[..., Any] | None = None) -> None:
        self.name, self._call = name, call

    def __call__(self, *args: Any) -> Any:
        if self._call is None:
            raise pickle.UnpicklingError(f"it calls '{self.name}'")
        return self._call(*args)

    def settle(self, walk: Callable[[Any], Any]) -> Any:
        raise pickle.UnpicklingError(f"'{self.name}' stands there as a value")


class _Dict(dict[Any, Any]):
    """An ordered dict; torch gives those of weights a state, which is not needed."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Dtype(StandIn):
    """A numpy type of plain numbers, texts or objects."""

    __slots__ = ("plain",)

    def __init__(self, code: Any, *_flags: Any) -> None:
        if not isinstance(code, str) or not code.isalnum() or len(code) > 15 or code[0] == "V":
            raise pickle.UnpicklingError(f"it has arrays of the type {str(code)[:40]!r}")
        self.plain = np.dtype(code)  # a plain type by its name: no state is involved
        if self.plain.char not in _KINDS:
            raise pickle.UnpicklingError(f"it has arrays of the type {code!r}")

    def __setstate__(self, state: Any) -> None:
        """(version, byte order, subarray, names, fields, item size or -1, alignment or -1, ...)"""
        if not (
            isinstance(state, tuple)
            and len(state) >= 5
            and state[1] in _ORDERS
            and state[2:5] == (None, None, None)
            and (len(state) < 6 or state[5] in (-1, self.plain.itemsize))
        ):
            raise pickle.UnpicklingError("it changes the layout of a numpy type")
        order = state[1]
        if order in "<>":
            self.plain = np.dtype(order + self.plain.str[1:])

    @property
    def holds_objects(self) -> bool:
        return bool(self.plain.hasobject)

    def settle(self, walk: Callable[[Any], Any]) -> Any:
        raise pickle.UnpicklingError("a numpy type stands there as a value")


class _Array(StandIn):
    """An array whose type, shape and bytes follow as its state."""

    __slots__ = ("state",)

    def __init__(self, *_template: Any) -> None:
        self.state: tuple[Any, ...] | None = None

    def __setstate__(self, state: Any) -> None:
        """(version, shape, type, Fortran order, bytes or list of objects)"""
        if not isinstance(state, tuple) or len(state) != 5 or self.state is not None:
            raise pickle.UnpicklingError("it gives an array another state than numpy does")
        self.state = state

    def settle(self, walk: Callable[[Any], Any]) -> np.ndarray:
        if self.state is None:
            raise pickle.UnpicklingError("it has an array without content")
        _version, shape, dtype, fortran, data = self.state
        if isinstance(dtype, _Dtype) and dtype.holds_objects:
            return _object_array(walk(data), shape)
        return _array(data, dtype, shape, "F" if fortran else "C")


@lru_cache(maxsize=1024)
def _count(shape: Any) -> int:
    """Elements of an array of this shape, which is checked (files have few different ones)."""
    if (
        not isinstance(shape, tuple)
        or len(shape) > 16
        or any(type(n) is not int or n < 0 for n in shape)
    ):
        raise pickle.UnpicklingError(f"it has an array of shape {str(shape)[:60]}")
    return math.prod(shape)


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """An array of its own memory from bytes, checked against its type and shape."""
    if not isinstance(dtype, _Dtype) or dtype.holds_objects:
        raise pickle.UnpicklingError("it has an array of no numpy type")
    if isinstance(data, str):  # numpy arrays of Python 2
        data = data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)) or order not in ("C", "F"):
        raise pickle.UnpicklingError("it has an array without bytes")
    count, plain = _count(shape), dtype.plain
    if len(data) != count * plain.itemsize:
        raise pickle.UnpicklingError(
            f"it has {len(data)} bytes for an array of {count} times {plain.itemsize}"
        )
    if not data:
        return np.zeros(shape, plain)
    if plain.kind == "b":  # any other byte than 0 and 1 would be no truth value
        data, plain = (np.frombuffer(data, np.uint8) != 0).tobytes(), np.dtype(bool)
    elif plain.kind == "U":
        points = np.frombuffer(data, f"{plain.str[0]}u4")
        if points.max() > 0x10FFFF:
            raise pickle.UnpicklingError("it has a text that is none")
    return np.ndarray(shape, plain, data, 0, None, order).copy(order="K")


def _object_array(items: Any, shape: Any) -> np.ndarray:
    if not isinstance(items, list) or len(items) != _count(shape):
        raise pickle.UnpicklingError("it has an array of objects that does not match its shape")
    flat = np.empty(len(items), object)
    for i, item in enumerate(items):
        flat[i] = item
    return flat.reshape(shape)


def _scalar(dtype: Any, data: Any = None) -> Any:
    return _array(data, dtype, (1,), "C")[0]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("it encodes something else than bytes")
    return text.encode("latin1")


def _bytes(data: Any = b"", encoding: Any = "latin1") -> bytes:
    return data if isinstance(data, bytes) else _encode(data, encoding)


_CORES = ("numpy.core", "numpy._core")  # of numpy 1 and 2
_BUILTINS = ("builtins", "__builtin__")  # of Python 3 and 2
_CALLS: list[tuple[str, str, Callable[..., Any] | None]] = [
    ("collections", "OrderedDict", _Dict),
    ("collections", "Counter", _Dict),
    ("_codecs", "encode", _encode),
    *((module, "set", set) for module in _BUILTINS),
    *((module, "complex", complex) for module in _BUILTINS),
    *((module, name, _bytes) for module in _BUILTINS for name in ("bytes", "bytearray")),
    ("numpy", "ndarray", None),
    ("numpy", "dtype", _Dtype),
    *((f"{core}.multiarray", "_reconstruct", _Array) for core in _CORES),
    *((f"{core}.multiarray", "scalar", _scalar) for core in _CORES),
    *((f"{core}.numeric", "_frombuffer", _array) for core in _CORES),
]
GLOBALS = {(module, name): Maker(f"{module}.{name}", call) for module, name, call in _CALLS}


class SafeUnpickler(pickle.Unpickler):
    """Loads plain values, and stand-ins for the rest; :func:`settle` what :meth:`load` returns.

    Args:
        more: makers by (module, name), beyond :data:`GLOBALS`.
        persistent: what a persistent id stands for.

    Raises:
        pickle.UnpicklingError: it refers to anything else. A damaged pickle raises nearly anything.
    """

    def __init__(
        self,
        file: IO[bytes],
        more: Mapping[tuple[str, str], Maker] | None = None,
        persistent: Callable[[Any], Any] | None = None,
        encoding: str = "ASCII",
    ) -> None:
        super().__init__(file, encoding=encoding)
        self._globals = {**GLOBALS, **(more or {})}
        self._persistent = persistent

    def find_class(self, module: str, name: str) -> Any:
        found = self._globals.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it refers to '{module}.{name}'")
        return found

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise pickle.UnpicklingError("it refers to something outside of it")
        return self._persistent(pid)


def settle(content: Any) -> Any:
    """What a pickle holds, stand-ins replaced by their values, in place where that is possible.

    Raises:
        pickle.UnpicklingError: a stand-in makes no sense, something contains itself, or more than
            :data:`MAX_DEPTH` containers lie within each other.
    """
    # By id: (the object, kept so that no other gets its id; its value, or _OPEN).
    done: dict[int, tuple[Any, Any]] = {}

    def walk(value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _ATOMS or not (kind in _CONTAINERS or isinstance(value, StandIn)):
            return value
        known = done.get(id(value))
        if known is not None:
            if known[1] is _OPEN:
                raise pickle.UnpicklingError("it contains itself")
            return known[1]
        if depth > MAX_DEPTH:
            raise pickle.UnpicklingError(f"more than {MAX_DEPTH} containers within each other")
        done[id(value)] = (value, _OPEN)
        result: Any = value
        if kind is dict or kind is _Dict:
            result = value if kind is dict else {}
            for key, item in list(value.items()):
                if type(key) not in _ATOMS:
                    _check_key(key)
                result[key] = item if type(item) in _ATOMS else walk(item, depth + 1)
        elif kind is list:
            if not _ATOMS.issuperset(map(type, value)):
                value[:] = [walk(item, depth + 1) for item in value]
        elif kind is tuple:
            if not _ATOMS.issuperset(map(type, value)):
                result = tuple([walk(item, depth + 1) for item in value])
        elif kind is set:
            for item in value:
                _check_key(item)
        else:
            result = value.settle(lambda part: walk(part, depth + 1))
        done[id(value)] = (value, result)
        return result

    return walk(content, 0)


def _check_key(key: Any) -> None:
    parts = key if type(key) is tuple else (key,)
    if not _ATOMS.issuperset(map(type, parts)):
        raise pickle.UnpicklingError(f"a {type(key).__name__} is a key")


_OPEN = object()
_CONTAINERS = {dict, _Dict, list, tuple, set}
_ATOMS = {str, int, float, bool, bytes, type(None)}


@contextmanager
def bounded_memory(size: int) -> Iterator[None]:
    """Let what happens inside take no more memory than a pickle of ``size`` bytes may need.

    Ten bytes can ask for tables of gigabytes. Where the system sets no such limits (only Linux
    says how much is in use), nothing is bounded.

    Raises:
        MemoryError: from inside, when more is asked for.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError, ValueError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + _MEMORY_FREE + _MEMORY_PER_BYTE * size
    for limit in (soft, hard):
        if limit != resource.RLIM_INFINITY:
            wanted = min(wanted, limit)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
