"""The tables of docs/performance.md, made from stored records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from laboratory.measuring.machine import disturbed
from laboratory.measuring.record import Record, Row, read_record
from pftrack.errors import UserError
from pftrack.files import atomic
from pftrack.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "performance.md"
STORE = REPOSITORY / "docs" / "performance"
BEGIN, END = "<!-- tables: tools/bench.py --write-docs -->", "<!-- end of tables -->"


def write_page(records: Sequence[Path], page: Path = PAGE, store: Path = STORE) -> None:
    """Store further records, one for each command and kind, and make the page's tables anew.

    Raises:
        UserError: a file that is no record, a page without its markers.
    """
    read = [read_record(path) for path in records]
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"{page} lacks the lines '{BEGIN}' and '{END}'")
    for record in read:
        record.write(store / f"{_name(record)}.json")
    with atomic(page) as file:
        file.write(f"{before}{BEGIN}\n{tables(store)}{END}{after}")


def _name(record: Record) -> str:
    """Of the file: another one for every benchmark, kind and arguments."""
    kind = ["pair"] if record.against else []
    values = [word for word in record.arguments if not word.startswith("--")]
    return re.sub(r"[^\w.-]+", "-", "_".join([record.benchmark, *kind, *values]))


def tables(store: Path = STORE) -> str:
    """All stored records as Markdown, in the order of their names."""
    return "".join(_section(read_record(path)) for path in sorted(store.glob("*.json")))


def _section(record: Record) -> str:
    command = " ".join(["tools/bench.py", record.benchmark, *record.arguments])
    about, has = record.machine, record.versions
    on = [about["cpu"], f"{about['cores']} cores", f"{about['memory_gb']} GB", *about["gpus"]]
    words = f"({' '.join(about['flags'])})" if about["flags"] else ""
    load = disturbed(record.others) or "quiet"
    lines = [
        f"\n### {record.benchmark}{', two commits' if record.against else ''}\n",
        f"`{command}`, {record.date[:10]}, {', '.join(on)} {words}, Python {has['python']}, "
        f"torch {has['torch']}, numpy {has['numpy']}, commit {_commit(record)}; {load}.\n",
    ]
    if record.against:
        lines[1] = lines[1].removesuffix("\n") + (
            f" Before: commit {record.against[:8]}; medians of {record.rounds} alternations.\n"
        )
    return "\n".join([*lines, *_table(record.rows, record.before), ""])


def _commit(record: Record) -> str:
    changed = " and changes" if record.versions["git_modified"] else ""
    return f"{record.versions['git_commit'][:8]}{changed}"


def _table(rows: Sequence[Row], before: Sequence[Row]) -> list[str]:
    """Lines of a table with a column for each number; of a pairing with what it was, and the
    ratio."""
    names = list(dict.fromkeys(name for row in rows for name in row.numbers))
    old = {row.what: row.numbers for row in before}
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row in rows:
        cells = [_cell(row.numbers.get(n), old.get(row.what, {}).get(n)) for n in names]
        lines.append(f"| {row.what} | " + " | ".join(cells) + " |")
    return lines


def _cell(value: float | None, was: float | None) -> str:
    if value is None:
        return ""
    if was is None:
        return _digits(value)
    ratio = f" ({was / value:.2f}x)" if value else ""
    return f"{_digits(was)} → {_digits(value)}{ratio}"


def _digits(value: float) -> str:
    """Three significant digits; whole numbers in full."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
