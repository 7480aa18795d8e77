"""Bad values by kind of field; a hypothesis strategy draws which."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAN, INF = float("nan"), float("inf")


def nested(depth: int) -> Any:
    """A list in a list in a list ..."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


_NO_NUMBER: st.SearchStrategy[Any] = st.sampled_from(
    [None, "1", "", {}, [], [1.0], {"a": 1}, "NaN", nested(40)]
)
_NOT_FINITE = st.sampled_from([NAN, INF, -INF])
_NO_TEXT: st.SearchStrategy[Any] = st.sampled_from([None, 7, 1.5, [], {}, ["a"], True])


def vector(length: int) -> st.SearchStrategy[Any]:
    """No ``length`` finite numbers."""
    good = st.floats(-10, 10)
    wrong = st.one_of(_NOT_FINITE, _NO_NUMBER, st.sampled_from([1e400, "x", [1, 2]]))
    spoiled = st.tuples(
        st.lists(good, min_size=length, max_size=length), st.integers(0, length - 1), wrong
    )
    return st.one_of(
        _NO_NUMBER,
        st.lists(good, max_size=length - 1),
        st.lists(good, min_size=length + 1, max_size=length + 4),
        spoiled.map(lambda t: [*t[0][: t[1]], t[2], *t[0][t[1] + 1 :]]),
        st.just({"x": 1.0}),
        st.just(nested(200)),
    )


BAD: dict[str, st.SearchStrategy[Any]] = {
    "vec2": vector(2).filter(lambda v: not _nan_pair(v)),
    "vec3": vector(3),
    "range": st.one_of(
        vector(6), st.sampled_from([[1, 1, 1, -1, -1, -1], [0] * 6, [-1, -1, 2, 1, 1, 1]])
    ),
    "limits": st.one_of(vector(2), st.sampled_from([[0.6, 0.5], [-1.0, 1.0], [0, 0]])),
    "size": st.one_of(vector(3), st.sampled_from([[0, 1, 1], [1, -1, 1], [1, 1, 0.0]])),
    "quaternion": st.one_of(
        vector(4), st.sampled_from([[0, 0, 0, 0], [2, 0, 0, 0], [1, 1, 0, 0], [0.5, 0, 0, 0]])
    ),
    "score": st.one_of(
        _NO_NUMBER, _NOT_FINITE, st.floats(1.01, 1e9), st.floats(-1e9, -0.01), st.just(10**400)
    ),
    "number": st.one_of(_NO_NUMBER, _NOT_FINITE),
    "positive": st.one_of(_NO_NUMBER, _NOT_FINITE, st.sampled_from([0, -1, -0.5])),
    "count": st.one_of(_NO_NUMBER, _NOT_FINITE, st.sampled_from([-1, 1.5, -(10**30)])),
    "rate": st.one_of(_NO_NUMBER, _NOT_FINITE, st.sampled_from([-1, -0.5])),
    "text": _NO_TEXT,
    "token": st.one_of(_NO_TEXT, st.sampled_from(["", "unknown", "0" * 32, "../x"])),
    "class": st.one_of(_NO_TEXT, st.sampled_from(["", "tram", "CAR", "car "])),
    "identity": st.sampled_from([None, [], {}, 1.5, True, ["a"]]),
    "list": st.sampled_from([None, 7, "abc", {}, {"a": 1}, 1.5]),
    "dict": st.sampled_from([None, 7, "abc", [], [1], 1.5]),
    "bool": st.sampled_from([None, "yes", 7, [], {}]),
}


def _nan_pair(value: Any) -> bool:
    """Two numbers of which some are NaN: an unknown velocity, which is allowed."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
        and not any(v in (INF, -INF) for v in value)
    )


# What makes a text file unreadable, whatever its format.
BYTES = (
    "empty",
    "torn",
    "binary",
    "no text",
    "deep",
    "a page",
    "null",
    "number",
    "folder",
    "nul byte",
)


def spoil_bytes(how: str, data: bytes, at: float) -> bytes | None:
    """A JSON file's bytes after an accident; None: a folder stands in its place.

    Args:
        at: where in the file, 0 to 1.
    """
    cut = max(1, min(len(data) - 2, int(at * len(data))))
    return {
        "empty": b"",
        "torn": data[:cut],
        "binary": bytes(range(256)) * 4,
        "no text": data[:cut] + b"\xff\xfe" + data[cut:],
        "deep": b"[" * 100_000,
        "a page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "null": b"null",
        "number": b"42",
        "folder": None,
        "nul byte": b"\0" * 64,
    }[how]
