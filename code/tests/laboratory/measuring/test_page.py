"""docs/performance.md shows the stored records."""

from __future__ import annotations

from pathlib import Path

import pytest

from laboratory.measuring.page import BEGIN, END, PAGE, STORE, tables, write_page
from laboratory.measuring.record import Record, Row
from pftrack.errors import UserError


def test_the_page_shows_the_stored_records() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = text.partition(f"{BEGIN}\n")[2].partition(END)[0]
    assert list(STORE.glob("*.json"))
    assert shown == tables(), "run tools/bench.py --write-docs"


def test_records_become_tables_between_the_markers(tmp_path: Path) -> None:
    page, store = tmp_path / "page.md", tmp_path / "store"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    single = Record.now(
        "loader", ["--clips", "3"], 1.25, [Row("clip", {"CPU s": 1234.5, "n": 2.0})]
    )
    pair = Record.now("model_time", [], 0.0, [Row("f1", {"CPU s": 8.0, "peak GB": 0.0})])
    pair.against, pair.rounds = "abcdef0123456789", 5
    pair.before = [Row("f1", {"CPU s": 10.0, "peak GB": 2.5})]
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for record, path in zip((single, pair), paths, strict=True):
        record.write(path)
    write_page(paths, page, store)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n\n### loader\n") and text.endswith(f"{END}\nafter\n")
    assert "| clip | 1,234 | 2 |" in text and "other processes kept 1.2 cores busy" in text
    assert "| f1 | 10 → 8 (1.25x) | 2.5 → 0 |" in text
    assert "commit abcdef01; medians of 5 alternations" in text
    assert sorted(f.name for f in store.iterdir()) == ["loader_3.json", "model_time_pair.json"]
    write_page([], page, store)
    assert page.read_text() == text


def test_another_command_has_a_table_of_its_own(tmp_path: Path) -> None:
    page, store = tmp_path / "page.md", tmp_path / "store"
    page.write_text(f"{BEGIN}\n{END}\n")
    for task, seconds in (("f1", 1.0), ("f3", 2.0), ("f1", 3.0)):
        record = Record.now("model_time", ["--tasks", task], 0.0, [Row(task, {"CPU s": seconds})])
        record.write(tmp_path / "record.json")
        write_page([tmp_path / "record.json"], page, store)
    text = page.read_text()
    assert text.count("### model_time") == 2
    assert "| f1 | 3 |" in text and "| f3 | 2 |" in text and "| f1 | 1 |" not in text


def test_a_page_without_markers_stays_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(UserError, match="lacks the lines"):
        write_page([], page, tmp_path)
    assert page.read_text() == "nothing"
