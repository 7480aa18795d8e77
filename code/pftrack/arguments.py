"""Command lines: a parser whose complaints are one line, and numbers within limits."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import NoReturn

from pftrack.errors import UserError

MOST_PROCESSES = 1024
MOST = 2**31 - 1


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that raises :class:`UserError` instead of printing its usage."""

    def error(self, message: str) -> NoReturn:
        """Called for every mistake on the command line."""
        raise UserError(f"{message} (--help lists the options)")


def whole(least: int, most: int = MOST) -> Callable[[str], int]:
    """The ``type`` of an option: a whole number from ``least`` to ``most``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(_wanted("a whole number", least, most, text))
        return value

    return read


def real(least: float, most: float = math.inf) -> Callable[[str], float]:
    """The ``type`` of an option: a finite number from ``least`` to ``most``."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and least <= value <= most):
            raise argparse.ArgumentTypeError(_wanted("a number", least, most, text))
        return value

    return read


def _wanted(kind: str, least: float, most: float, text: str) -> str:
    end = "" if most >= MOST else f" to {most}"
    return f"{kind} from {least}{end} is wanted, not {text!r:.40}"
