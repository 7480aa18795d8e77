"""Rows of a nuScenes table, read piece by piece: trainval's largest has 2.6 million in 1.2 GB."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pftrack.errors import UserError

_BLOCK = 1 << 22
_BETWEEN = re.compile(r"[\s,\[]*")


def iter_rows(path: Path, progress: Callable[[int], object] | None = None) -> Iterator[Any]:
    """The objects of a JSON file that holds one list of objects.

    Args:
        progress: told the number of characters read, block by block.

    Raises:
        UserError: no such file, or not such JSON.
    """
    decoder = json.JSONDecoder()
    try:
        with path.open(encoding="utf-8") as file:
            text, at, more = "", 0, True
            while True:
                at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
                try:
                    row, at = decoder.raw_decode(text, at)
                except json.JSONDecodeError as error:
                    if more:
                        block = file.read(_BLOCK)
                        text, at, more = text[at:] + block, 0, bool(block)
                        if progress is not None:
                            progress(len(block))
                        continue
                    if text[at:].strip() == "]":
                        return
                    raise UserError(
                        f"table {path} ends or breaks off in the middle ({error.msg}): unpack the "
                        "nuScenes metadata again"
                    ) from None
                yield row
    except FileNotFoundError:
        raise UserError(
            f"no table {path}: NUSCENES must be the folder that holds maps/, samples/ and the "
            "version folder with the tables"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read table {path}: {error}") from None
