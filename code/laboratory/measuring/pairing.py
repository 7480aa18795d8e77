"""Two commits side by side: a benchmark runs in each, alternately, in processes of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import NoReturn

from laboratory.measuring.machine import disturbed
from laboratory.measuring.record import Record, Row, read_record
from pftrack.errors import UserError
from pftrack.paths import REPOSITORY

_RECORD = Path("code/laboratory/measuring/record.py")


def pair(
    benchmark: str,
    arguments: Sequence[str],
    commit: str,
    rounds: int,
    repository: Path = REPOSITORY,
) -> Record:
    """Run a benchmark at ``commit`` and in the working tree, A B A B, and print medians and ratios.

    Both use this interpreter and its packages. The commit is checked out to a temporary folder,
    which is gone afterwards, on Ctrl-C too.

    Raises:
        UserError: no such commit, one that lacks the benchmark or the record, a failing run.
    """
    if rounds < 1:
        raise UserError(f"--rounds {rounds}: at least one")
    commit = _resolve(commit, repository)
    with (
        _ended_by_signals(),
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        _checked_out(commit, repository, Path(folder) / "tree") as tree,
    ):
        _check(tree, benchmark, commit)
        sides: dict[str, tuple[Path, list[Record]]] = {
            commit[:8]: (tree, []),
            "working tree": (repository, []),
        }
        for number in range(1, rounds + 1):
            for name, (root, records) in sides.items():
                print(f"{number}/{rounds} {name} ...", end=" ", flush=True)
                records.append(_run(root, benchmark, arguments, Path(folder) / "record.json"))
                print("done", flush=True)
    (_, before), (_, now) = sides.values()
    loads = [record.others for record in (*before, *now)]
    others = None if None in loads else max(load for load in loads if load is not None)
    record = Record.now(benchmark, arguments, others, _medians(now))
    record.against, record.rounds, record.before = commit, rounds, _medians(before)
    _print(record, before, now)
    return record


def _resolve(commit: str, repository: Path) -> str:
    """Its full name."""
    if not (repository / ".git").exists():
        raise UserError(f"--against compares commits, and {repository} is no git repository")
    found = _git(repository, "rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}")
    if found.returncode:
        raise UserError(f"--against {commit}: no such commit in {repository}")
    return found.stdout.strip()


def _git(repository: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(repository), *args]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        raise UserError(
            "--against needs git, which is not here (nor in the image): RUNTIME=native"
        ) from None


@contextmanager
def _checked_out(commit: str, repository: Path, tree: Path) -> Iterator[Path]:
    """A work tree of ``commit``, for as long as the block runs."""
    try:
        made = _git(repository, "worktree", "add", "--detach", str(tree), commit)
        if made.returncode:
            raise UserError(f"git cannot check out {commit[:8]}: {made.stderr.strip()}")
        yield tree
    finally:
        shutil.rmtree(tree, ignore_errors=True)
        _git(repository, "worktree", "prune")


def _check(tree: Path, benchmark: str, commit: str) -> None:
    if not (tree / f"code/laboratory/benchmarks/{benchmark}.py").is_file():
        raise UserError(f"commit {commit[:8]} has no benchmark '{benchmark}'")
    if not (tree / _RECORD).is_file():
        raise UserError(
            f"commit {commit[:8]} is older than the record of benchmarks ({_RECORD}): "
            "compare with a later one"
        )


def _run(root: Path, benchmark: str, arguments: Sequence[str], path: Path) -> Record:
    """The record of one run of the benchmark in the tree ``root``."""
    code = root / "code"
    command = [sys.executable, "tools/bench.py", benchmark, *arguments, "--json", str(path)]
    # A group of its own: whoever ends it ends its processes as well.
    process = subprocess.Popen(
        command, cwd=code, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _, errors = process.communicate()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise UserError(f"benchmark '{benchmark}' in {code} failed: {last.removeprefix('error: ')}")
    return read_record(path)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM raises, as Ctrl-C does, so that everything is put away."""

    def leave(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    old = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _medians(records: Sequence[Record]) -> list[Row]:
    """Of the rows that all records have."""
    tables = [{row.what: row.numbers for row in record.rows} for record in records]
    return [
        Row(what, {name: median(table[what][name] for table in tables) for name in numbers})
        for what, numbers in tables[0].items()
        if all(numbers.keys() == table.get(what, {}).keys() for table in tables)
    ]


def _print(record: Record, before: Sequence[Record], now: Sequence[Record]) -> None:
    """The table of medians, their ratios, and the ratios of single rounds."""
    old = {row.what: row.numbers for row in record.before}
    width = max([len(row.what) for row in record.rows] + [10])
    titles = ("before", "now", "before/now", "of rounds")
    print(f"\n{record.benchmark}: {record.against} (before) and the working tree (now)")
    print(f"{'':{width}}  {'':14}" + "".join(f"{title:>14}" for title in titles))
    for row in record.rows:
        for name, value in row.numbers.items():
            if name not in old.get(row.what, {}):
                continue
            ratios = [
                _number(a, row.what, name) / max(_number(b, row.what, name), 1e-12)
                for a, b in zip(before, now, strict=True)
            ]
            was = old[row.what][name]
            spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
            print(
                f"{row.what:{width}}  {name:14}{was:14.4g}{value:14.4g}"
                f"{was / max(value, 1e-12):14.3f}{spread:>14}"
            )
    alone = {row.what for row in record.rows} ^ set(old)
    if alone:
        print(f"only on one side: {', '.join(sorted(alone))}")
    if line := disturbed(record.others):
        print(line)


def _number(record: Record, what: str, name: str) -> float:
    return next(row.numbers[name] for row in record.rows if row.what == what)
