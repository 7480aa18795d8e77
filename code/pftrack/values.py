"""Kinds of values that settings declare, and what a declaration cannot say of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from pftrack.errors import UserError

_LARGEST = sys.float_info.max  # any finite number

AtLeastOne = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0, le=_LARGEST)]
NotNegative = Annotated[float, Meta(ge=0, le=_LARGEST)]
Share = Annotated[float, Meta(ge=0, le=1)]
# of a score, which lies in (0, 1): a negative one lets everything pass
Threshold = Annotated[float, Meta(ge=-1, le=1)]
# x, y, z of the lower and of the upper corner, m
Range = Annotated[Sequence[float], Meta(min_length=6, max_length=6)]


def check_range(name: str, limits: Sequence[float]) -> None:
    """Refuse a :data:`Range` that ends where or before it begins: nothing lies in it.

    Args:
        name: of the setting, for the message.
    """
    if not all(low < high for low, high in zip(limits[:3], limits[3:], strict=True)):
        raise UserError(
            f"{name} in the config is {list(limits)}: x, y, z from which it reaches, then x, y, z "
            "to which, each the larger one"
        )
