"""Recordings in the formats of other data sets that ``pftrack import`` reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from laboratory.battery.cases.maker import Main, Maker
from laboratory.battery.cases.own_data import import_data
from laboratory.battery.worker import Case


def kitti_files(make: Maker) -> Iterator[Case]:
    """The text files of KITTI's format, word by word."""
    files = ("calib/0000.txt", "oxts/0000.txt", "label_02/0000.txt")
    draw = st.tuples(
        st.sampled_from(files),
        st.sampled_from(["x", "nan", "inf", "1e400", "", "Spaceship", "-99999999"]),
        st.floats(0, 0.999),
        st.floats(0, 0.999),
    )

    def run_with(file: str, spoil: Callable[[bytes], bytes | None]) -> Callable[[Path], Any]:
        def run(folder: Path) -> tuple[Main, list[str]]:
            shutil.copytree(make.world.kitti, folder / "kitti")
            path = folder / "kitti" / file
            spoiled = spoil(path.read_bytes())
            path.unlink()
            path.mkdir() if spoiled is None else path.write_bytes(spoiled)
            return import_data("kitti", folder / "kitti", folder, "--every", 5)

        return run

    for file, word, row_at, at in make.draws(draw, 50, 146):

        def spoil(
            data: bytes, file: str = file, word: str = word, row_at: float = row_at, at: float = at
        ) -> bytes:
            rows = [line.split() for line in data.decode().splitlines()]
            row = rows[int(row_at * len(rows))]
            # What is read: numbers after the name, six of a pose, the first and last of a label.
            first, last = {"calib": (1, len(row)), "oxts": (0, 6), "label_02": (10, 17)}[
                file.partition("/")[0]
            ]
            row[first + int(at * (last - first))] = word
            return "\n".join(" ".join(words) for words in rows).encode()

        if word == "-99999999" and not file.startswith("label"):
            continue  # a number like others: a place far away
        yield Case("kitti", f"{file} {word!r} at {row_at:.2f}, {at:.2f}", run_with(file, spoil))
    for n, file in enumerate(files):
        data = (make.world.kitti / file).read_bytes()

        def use(spoiled: Path, folder: Path, file: str = file) -> tuple[Main, list[str]]:
            content = None if spoiled.is_dir() else spoiled.read_bytes()
            return run_with(file, lambda _data: content)(folder)

        cases = make.texts("kitti", data, 8, use, 147 + n)
        # Labels that are none at all are a sequence without objects; torn ones may be whole lines.
        yield from (
            case
            for case in cases
            if not case.name.startswith(
                ("torn", "empty") if file.startswith(("label", "oxts")) else ()
            )
        )


def feather_files(make: Maker) -> Iterator[Case]:
    """Argoverse 2's tables, where pyarrow is."""
    if not make.world.argoverse.is_dir():
        return
    from pftrack.data import argoverse

    log = next(make.world.argoverse.iterdir()).name
    columns = {
        argoverse.INTRINSICS: ("sensor_name", "fx_px", "cy_px"),
        argoverse.MOUNTS: ("sensor_name", *argoverse.TURN, *argoverse.PLACE),
        argoverse.POSES: ("timestamp_ns", *argoverse.TURN, *argoverse.PLACE),
        argoverse.ANNOTATIONS: (
            *("timestamp_ns", "track_uuid", "category", "length_m", "width_m", "num_interior_pts"),
            *argoverse.TURN,
            *argoverse.PLACE,
        ),
    }
    cells = [(file, name) for file, names in columns.items() for name in names]
    draw = st.tuples(
        st.sampled_from(cells), st.sampled_from(["nothing", "no values", "texts", "lists", "nan"])
    )

    def spoiled(
        folder: Path, file: str, change: Callable[[Path], object]
    ) -> tuple[Main, list[str]]:
        shutil.copytree(make.world.argoverse, folder / "logs")
        change(folder / "logs" / log / file)
        return import_data("argoverse", folder / "logs", folder, "--every", 5)

    for (file, name), how in make.draws(draw, 50, 151):

        def change(path: Path, name: str = name, how: str = how) -> None:
            import pyarrow
            from pyarrow import feather

            table = feather.read_table(path).to_pydict()
            rows = len(table[name])
            if how == "nothing":
                del table[name]
            else:
                value = {"no values": None, "texts": "\0", "lists": [1.0], "nan": float("nan")}[how]
                table[name] = [value] * rows
            feather.write_feather(pyarrow.table(table), str(path))

        def run(
            folder: Path, file: str = file, change: Callable[[Path], object] = change
        ) -> tuple[Main, list[str]]:
            return spoiled(folder, file, change)

        yield Case("feather", f"{file} {name}: {how}", run)
    for n, file in enumerate(columns):
        data = (make.world.argoverse / log / file).read_bytes()

        def use(source: Path, folder: Path, file: str = file) -> tuple[Main, list[str]]:
            def change(path: Path) -> None:
                path.unlink()
                source.rename(path)

            return spoiled(folder, file, change)

        yield from make.texts("feather", data, 8, use, 152 + n)
