"""The info converter on generated tables of growing size: time and memory.

Each size runs in a process of its own.

    python tools/bench.py converter [--sizes 2134 8537 17075 34149] [--workers 2] [--keep FOLDER]
"""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path

from laboratory.measuring.record import CPU, PEAK, WALL, Row, Stopwatch
from pftrack.arguments import Parser
from pftrack.memory import peak_memory
from pftrack.nuscenes.versions import TRAINVAL

TRAINVAL_SAMPLES = 34_149
SIZES = tuple(TRAINVAL_SAMPLES // part for part in (16, 4, 2, 1))
_TIMES = [f"{stage} {clock}" for stage in ("load", "convert") for clock in (WALL, CPU)]


def measure(root: Path, out: Path, workers: int) -> Row:
    """Load the tables below ``root`` and convert them; imports are not counted."""
    from nuscenes.utils import splits  # noqa: F401

    from pftrack.conversion.run import convert_tables
    from pftrack.nuscenes.tables import load_tables

    watch = Stopwatch()
    tables = load_tables(root, TRAINVAL, workers)
    loading, watch = watch.seconds(), Stopwatch()
    written = convert_tables(tables, root, out)
    numbers = {
        "annotations": float(len(tables.sample_annotation["token"])),
        **{f"load {name}": value for name, value in loading.items()},
        **{f"convert {name}": value for name, value in watch.seconds().items()},
        PEAK: peak_memory() / 1e9,
        "files GB": sum(path.stat().st_size for path, _ in written) / 1e9,
    }
    return Row(f"{sum(count for _, count in written)} samples", numbers)


def run(argv: list[str]) -> list[Row]:
    """Entry of ``tools/bench.py converter``."""
    parser = Parser(prog="bench.py converter", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="samples")
    parser.add_argument("--workers", type=int, default=2, help="processes that read tables")
    parser.add_argument("--keep", type=Path, help="folder for tables and infos (default: removed)")
    args = parser.parse_args(argv)
    from laboratory.demo_data.tables_only import table_chunks
    from pftrack.nuscenes.table_files import write_tables

    heads = ("annot.", "load s", "(cpu)", "convert s", "(cpu)", "us/annot.", "peak GB", "files GB")
    print(" " * 14 + ("{:>10}" * 8).format(*heads), flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        for size in args.sizes:
            root = folder / f"tables-{size}"
            if not (root / TRAINVAL).is_dir():
                write_tables(root / TRAINVAL, table_chunks(size))
            with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
                job = (root, folder / f"infos-{size}", args.workers)
                rows.append(pool.apply(_measure_quietly, job))
            _print(rows[-1])
    return rows


def _measure_quietly(root: Path, out: Path, workers: int) -> Row:
    # Pool processes may not have children of their own unless told so; the table readers are.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    return measure(root, out, workers)


def _print(row: Row) -> None:
    n = row.numbers
    text = f"{row.what:>14}{n['annotations']:10.0f}"
    text += "".join(f"{n[name]:10.1f}" for name in _TIMES)
    text += f"{n[_TIMES[-1]] / max(n['annotations'], 1) * 1e6:10.1f}"
    text += f"{n[PEAK]:10.2f}{n['files GB']:10.2f}"
    print(text, flush=True)
