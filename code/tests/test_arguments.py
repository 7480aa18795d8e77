"""Numbers on command lines stay within their limits, and a mistake there is one line."""

from __future__ import annotations

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pftrack.arguments import Parser, real, whole
from pftrack.errors import UserError


@given(st.integers())
def test_whole_numbers(number: int) -> None:
    read = whole(1, 240)
    if 1 <= number <= 240:
        assert read(str(number)) == number
    else:
        with pytest.raises(argparse.ArgumentTypeError, match="a whole number from 1 to 240"):
            read(str(number))


@pytest.mark.parametrize("text", ["", "1.5", "nan", "1e3", "x", "--", "0x10"])
def test_what_is_no_whole_number(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="from 0 is wanted"):
        whole(0)(text)


@given(st.floats())
def test_numbers(number: float) -> None:
    read = real(0, 1)
    if 0 <= number <= 1:
        assert read(repr(number)) == number
    else:
        with pytest.raises(argparse.ArgumentTypeError, match="a number from 0 to 1"):
            read(repr(number))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--many", "0"], "argument --many: a whole number from 1 is wanted, not '0'"),
        (["--other"], "unrecognized arguments: --other"),
        (["--many"], "argument --many: expected one argument"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str) -> None:
    parser = Parser()
    parser.add_argument("--many", type=whole(1))
    with pytest.raises(UserError) as raised:
        parser.parse_args(words)
    assert str(raised.value) == f"{message} (--help lists the options)"
