"""Where a new sequence begins."""

from __future__ import annotations

import pytest

from pftrack.sequences import starts_sequence


def never() -> float:
    pytest.fail("the time is not needed: on a GPU reading it would wait")


def test_by_scene_where_both_frames_have_one_else_by_time() -> None:
    assert not starts_sequence("a", "a", never)
    assert starts_sequence("a", "b", never)
    for last, now in ((None, "a"), ("a", None), (None, None)):
        assert starts_sequence(last, now, lambda: -10.5)
        assert not starts_sequence(last, now, lambda: 10.0)
