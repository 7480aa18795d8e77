"""The info converter on generated tables of growing size: time and memory.

Each size runs in a process of its own.

    python tools/bench.py converter [--sizes 2134 8537 17075 34149] [--workers 2] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pftrack.memory import peak_memory
from pftrack.nuscenes.versions import TRAINVAL

TRAINVAL_SAMPLES = 34_149
SIZES = tuple(TRAINVAL_SAMPLES // part for part in (16, 4, 2, 1))


@dataclass
class Measurement:
    """One size; times in s."""

    samples: int
    annotations: int
    load_wall: float
    load_cpu: float
    convert_wall: float
    convert_cpu: float
    peak_gb: float
    files_gb: float


def measure(root: Path, out: Path, workers: int) -> Measurement:
    """Load the tables below ``root`` and convert them; imports are not counted."""
    from nuscenes.utils import splits  # noqa: F401

    from pftrack.conversion.run import convert_tables
    from pftrack.nuscenes.tables import load_tables

    before = _clock()
    tables = load_tables(root, TRAINVAL, workers)
    loaded = _clock()
    written = convert_tables(tables, root, out)
    done = _clock()
    return Measurement(
        samples=sum(count for _, count in written),
        annotations=len(tables.sample_annotation["token"]),
        load_wall=loaded[0] - before[0],
        load_cpu=loaded[1] - before[1],
        convert_wall=done[0] - loaded[0],
        convert_cpu=done[1] - loaded[1],
        peak_gb=peak_memory() / 1e9,
        files_gb=sum(path.stat().st_size for path, _ in written) / 1e9,
    )


def _clock() -> tuple[float, float]:
    """Wall and CPU seconds, finished child processes included."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.monotonic(), sum(u.ru_utime + u.ru_stime for u in usage)


def run(argv: list[str]) -> int:
    """Entry of ``tools/bench.py converter``."""
    parser = argparse.ArgumentParser(prog="bench.py converter", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="samples")
    parser.add_argument("--workers", type=int, default=2, help="processes that read tables")
    parser.add_argument("--keep", type=Path, help="folder for tables and infos (default: removed)")
    args = parser.parse_args(argv)
    from laboratory.demo_data.tables_only import table_chunks
    from pftrack.nuscenes.table_files import write_tables

    heads = ("samples", "annot.", "load s", "(cpu)", "convert s", "(cpu)", "us/annot.")
    print(("{:>10}" * 9).format(*heads, "peak GB", "files GB"), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        for size in args.sizes:
            root = folder / f"tables-{size}"
            if not (root / TRAINVAL).is_dir():
                write_tables(root / TRAINVAL, table_chunks(size))
            with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
                job = (root, folder / f"infos-{size}", args.workers)
                _print(pool.apply(_measure_quietly, job))
    return 0


def _measure_quietly(root: Path, out: Path, workers: int) -> Measurement:
    # Pool processes may not have children of their own unless told so; the table readers are.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    return measure(root, out, workers)


def _print(m: Measurement) -> None:
    row = f"{m.samples:10d}{m.annotations:10d}{m.load_wall:10.1f}{m.load_cpu:10.1f}"
    row += f"{m.convert_wall:10.1f}{m.convert_cpu:10.1f}"
    row += f"{m.convert_cpu / max(m.annotations, 1) * 1e6:10.1f}{m.peak_gb:10.2f}{m.files_gb:10.2f}"
    print(row, flush=True)
