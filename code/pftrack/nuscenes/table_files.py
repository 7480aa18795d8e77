"""Rows of nuScenes tables, read and written piece by piece: trainval's largest has 2.6 million
in 1.2 GB."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from pftrack.errors import UserError
from pftrack.nuscenes.json_stream import InvalidJson, JsonReader

Table = list[dict[str, Any]]


def iter_rows(path: Path, progress: Callable[[int], object] | None = None) -> Iterator[Any]:
    """The objects of a JSON file that holds one list of objects.

    Args:
        progress: told the number of characters read, block by block.

    Raises:
        UserError: no such file, or not such JSON.
    """
    if not path.is_file():
        raise UserError(
            f"no table {path}: NUSCENES must be the folder that holds maps/, samples/ and the "
            "version folder with the tables"
        )
    try:
        with JsonReader(path, progress) as reader:
            yield from reader.items()
            reader.end()
    except InvalidJson as error:
        raise UserError(
            f"table {path} ends or breaks off in the middle ({error.reason}): unpack the nuScenes "
            "metadata again"
        ) from None


def write_tables(
    folder: Path, pieces: Iterable[Mapping[str, Table]], indent: int | None = None
) -> None:
    """Write ``folder/<table>.json`` for every table that occurs in ``pieces``.

    Each piece is written as it comes: the memory needed does not grow with their number.

    Args:
        pieces: parts of the tables, name -> next rows.
        indent: as for ``json.dumps``; None is many times faster.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, TextIO] = {}
    with ExitStack() as stack:
        for piece in pieces:
            for name, rows in piece.items():
                if name not in files:
                    files[name] = stack.enter_context((folder / f"{name}.json").open("w"))
                if rows:
                    separator = ",\n" if files[name].tell() else "[\n"
                    files[name].write(separator + json.dumps(rows, indent=indent)[1:-1].strip())
        for file in files.values():
            file.write("\n]" if file.tell() else "[]")
