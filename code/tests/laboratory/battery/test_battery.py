"""The battery itself (tools/battery.py): it tells apart what it is there to find."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st

from laboratory.battery import run, worker
from laboratory.battery.cases import maker
from laboratory.battery.values import BAD, BYTES, spoil_bytes
from laboratory.battery.worker import Case
from pftrack.errors import UserError


def refuse() -> int:
    raise UserError("file.json: no list; write one")


def crash() -> int:
    raise KeyError("x")


def fault() -> int:
    os.abort()


def forever() -> int:
    while True:
        pass


def leave() -> int:
    Path(os.environ["MARK"]).with_name("out").joinpath("half").touch()
    return refuse()


def execute() -> int:
    Path(os.environ["MARK"]).touch()
    return refuse()


@pytest.mark.parametrize(
    ("main", "kind"),
    [
        (refuse, "one line"),
        (crash, "traceback"),
        (fault, "traceback"),
        (lambda: 0, "silent"),
        (forever, "hang"),
        (leave, "left-over"),
        (execute, "code run"),
        (lambda: sys.exit("handed on"), "one line"),
    ],
)
def test_every_end_is_told_from_the_others(
    main: Callable[[], int], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "TIMEOUT", 0.5)
    case = Case("format", "name", lambda _folder: (main, []))
    (outcome,) = run.run_cases([case], tmp_path / "cases", workers=1)
    assert outcome.kind == kind, outcome.text
    assert kind in worker.KINDS and kind in run.table([outcome])
    assert not list((tmp_path / "cases").iterdir())


def test_a_good_input_that_is_refused_is_no_success(tmp_path: Path) -> None:
    case = Case("format", "name", lambda _folder: (refuse, []), good=True)
    (outcome,) = run.run_cases([case], tmp_path / "cases", workers=1)
    assert outcome.kind == "traceback" and "a good input was refused" in outcome.text


def test_the_same_seed_gives_the_same_cases() -> None:
    strategy = maker.fields({"translation": "vec3", "size": "size"})
    first, again, other = (maker.draws(strategy, 20, n) for n in (3, 3, 4))
    assert repr(first) == repr(again) != repr(other)


def test_bad_values_are_bad() -> None:
    for kind, strategy in BAD.items():
        assert isinstance(strategy, st.SearchStrategy), kind
    for how in BYTES:
        assert spoil_bytes(how, b'{"results": {"a": []}}', 0.5) != b'{"results": {"a": []}}'


def test_values_go_where_the_path_leads() -> None:
    content = {"a": [{"b": 1}, {"b": 2}]}
    maker.put(content, "a.1.b", 7)
    maker.put(content, "a.0.b", maker.MISSING)
    assert content == {"a": [{}, {"b": 7}]}
