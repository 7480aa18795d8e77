"""Every benchmark explains itself."""

from __future__ import annotations

import importlib

import pytest
from imports import has_logic, modules

BENCHMARKS = [n for n, path in modules("laboratory/benchmarks").items() if has_logic(path)]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_help(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as left:
        importlib.import_module(name).run(["--help"])
    assert left.value.code == 0
    assert f"usage: bench.py {name.rpartition('.')[2]}" in capsys.readouterr().out
