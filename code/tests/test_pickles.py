"""Pickles: no state of theirs reaches numpy, nothing grows beyond its bytes, nothing runs."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

import numpy as np
import pytest

from pftrack.pickles import MAX_DEPTH, SafeUnpickler, bounded_memory, settle


def load(data: bytes) -> Any:
    return settle(SafeUnpickler(io.BytesIO(data)).load())


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def glob(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


DTYPE = glob("numpy", "dtype") + b"(" + text("f8") + b"\x89\x88tR"
PLAIN = b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
ARRAY = glob("numpy.core.multiarray", "_reconstruct") + glob("numpy", "ndarray") + b"K\x00\x85"


def array(shape: bytes, dtype: bytes, data: bytes) -> bytes:
    head = glob("numpy.core.multiarray", "_reconstruct") + b"(" + glob("numpy", "ndarray")
    head += b"K\x00\x85C\x01btR"
    return head + b"(K\x01" + shape + dtype + b"\x89C" + bytes([len(data)]) + data + b"tb"


ONE = struct.pack("<d", 2.5)
HOSTILE = {
    "item size enlarged by the state": array(
        b"K\x01\x85",
        DTYPE + b"(K\x03" + text("<") + b"NNNM\x00\x10J\xff\xff\xff\xffK\x00tb",
        ONE,
    ),
    "second state of the type": array(
        b"K\x01\x85",
        DTYPE + PLAIN + b"(K\x03" + text("<") + b"NNNM\x00\x10K\x01K\x00tb",
        ONE,
    ),
    "field beyond the item": array(
        b"K\x01\x85",
        DTYPE
        + b"(K\x03"
        + text("|")
        + b"N("
        + text("a")
        + b"t}"
        + text("a")
        + DTYPE
        + b"M\x00\x10\x86sK\x08K\x01K\x00tb",
        ONE,
    ),
    "shape beyond the bytes": array(b"M\xff\xff\x85", DTYPE + PLAIN, ONE),
    "negative shape": array(b"J\xff\xff\xff\xff\x85", DTYPE + PLAIN, ONE),
    "second state of the array": array(b"K\x01\x85", DTYPE + PLAIN, ONE)
    + b"(K\x01M\xff\xff\x85"
    + DTYPE
    + b"\x89C\x08"
    + ONE
    + b"tb",
    "scalar of another size": glob("numpy.core.multiarray", "scalar")
    + b"("
    + DTYPE
    + PLAIN
    + b"C\x04abcdtR",
    "array without state": glob("numpy.core.multiarray", "_reconstruct")
    + b"("
    + glob("numpy", "ndarray")
    + b"K\x00\x85C\x01btR",
    "type of fields": glob("numpy", "dtype") + b"(" + text("V8") + b"\x89\x88tR",
    "state for a function": glob("numpy.core.multiarray", "scalar") + b"}b",
    "attributes for a function": glob("numpy.core.multiarray", "scalar")
    + b"N}"
    + text("_call")
    + b"Ns\x86b",
    "call of a class": glob("numpy", "ndarray") + b"M\xff\xff\x85R",
    "a function as value": b"]" + glob("numpy.core.multiarray", "scalar") + b"a",
    "a list within itself": b"]q\x00h\x00a",
    "deep": b"]" * (MAX_DEPTH + 5) + b"a" * (MAX_DEPTH + 4),
    "text of no characters": array(
        b"K\x01\x85",
        glob("numpy", "dtype")
        + b"("
        + text("U2")
        + b"\x89\x88tR(K\x03"
        + text("<")
        + b"NNNK\x08K\x04K\x08tb",
        b"\xff" * 8,
    ),
    "persistent id": b"Pweights\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_states_that_would_reach_beyond_their_bytes_are_refused(name: str) -> None:
    with pytest.raises(pickle.UnpicklingError):
        load(b"\x80\x04" + HOSTILE[name] + b".")


def test_the_same_bytes_without_the_fault_load() -> None:
    assert load(b"\x80\x04" + array(b"K\x01\x85", DTYPE + PLAIN, ONE) + b".").tolist() == [2.5]
    scalar = glob("numpy.core.multiarray", "scalar") + b"(" + DTYPE + PLAIN + b"C\x08" + ONE + b"tR"
    assert load(b"\x80\x04" + scalar + b".") == 2.5


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(["car", "bus", "überholt"]),
        np.array([True, False]),
        np.array([b"ab", b"c"]),
        np.array([["car", None], [3, 2.5]], dtype=object),
        np.zeros((0, 7)),
        np.array(3.5),
    ],
    ids=lambda value: f"{value.dtype}{value.shape}",
)
def test_arrays_come_back_equal_and_writable(protocol: int, value: np.ndarray) -> None:
    shared = load(pickle.dumps([value, value], protocol))
    assert shared[0] is shared[1]
    np.testing.assert_array_equal(shared[0], value)
    assert shared[0].dtype == value.dtype and shared[0].flags.writeable


def test_truth_values_are_zero_or_one() -> None:
    data = pickle.dumps(np.array([True, False]), protocol=4)
    at = data.index(b"\x01\x00\x94")
    loaded = load(data[:at] + b"\x07" + data[at + 1 :])
    assert loaded.view(np.uint8).tolist() == [1, 0]


def test_a_few_bytes_get_no_gigabytes() -> None:
    # A table of 2^28 entries for what has been read, of which one is used.
    data = b"\x80\x02Nr\xff\xff\xff\x0f."
    with bounded_memory(len(data)), pytest.raises(MemoryError):
        load(data)
