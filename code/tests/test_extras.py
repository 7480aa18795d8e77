"""Optional parts of the set-up: there, or one line that says how to get them."""

from __future__ import annotations

import json
import sys

import pytest

from pftrack.errors import UserError
from pftrack.extras import PARTS, require
from pftrack.paths import REPOSITORY


@pytest.mark.parametrize("part", PARTS)
def test_what_is_missing_is_one_line(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "absent", None)
    with pytest.raises(UserError) as error:
        require("absent.inner", part, "a thing", "; or leave it")
    assert str(error.value) == (
        "a thing needs absent, which is not installed here: 'make setup RUNTIME=native "
        f"ARGS={part}' adds it ({PARTS[part]}) to the native environment; or leave it"
    )
    assert (REPOSITORY / "docker" / f"{part}.lock").is_file()


def test_what_is_there_is_given() -> None:
    assert require("json", "timm", "a thing") is json
