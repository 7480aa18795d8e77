"""The static tracker: the same tracks in the global frame, one compilation, one CUDA graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from street_frames import config, frame

from laboratory.parity.weights import fill
from pftrack import load_tracker
from pftrack.errors import UserError

SCENE = [(0.5 * t, "a" if t < 4 else "b") for t in range(7)]


def pair(device: str = "cpu", **options: Any) -> tuple[Any, Any]:
    """An ordinary and a static tracker of the same weights, which both find something."""
    ordinary = load_tracker(config(), None, device, fuse_conv_bn=False)
    fill(ordinary.model)
    weights = {"state_dict": ordinary.model.state_dict()}
    static = load_tracker(config(), weights, device, static=True, slots=90, **options)
    limits = {"output_threshold": 0.5, "score_threshold": 0.55, "record_threshold": 0.55}
    ordinary.thresholds = replace(ordinary.thresholds, **limits)
    static.static_step.thresholds = ordinary.thresholds
    return ordinary, static


def same(ordinary: Any, static: Any) -> int:
    """Track the scene with both; how many boxes were reported."""
    count = 0
    for seconds, scene in SCENE:
        sample = frame(seconds, scene, seed=int(2 * seconds))
        expected, found = ordinary.step(sample), static.step(sample)
        assert [track.id for track in found] == [track.id for track in expected]
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.name == theirs.name
            assert mine.score == pytest.approx(theirs.score, abs=1e-4)
            np.testing.assert_allclose(mine.center, theirs.center, atol=2e-3)
            np.testing.assert_allclose(mine.forecast, theirs.forecast, atol=1e-3)
        count += len(found)
    return count


@pytest.mark.slow
def test_the_same_tracks_with_one_compilation_for_a_scene() -> None:
    from torch._dynamo.testing import CompileCounter

    ordinary, static = pair(compile=False)
    counter = CompileCounter()  # compiles nothing: the graph runs as it was traced
    static._step = torch.compile(static.static_step, fullgraph=True, dynamic=False, backend=counter)
    assert same(ordinary, static) > len(SCENE)
    assert counter.frame_count == 1


def test_after_a_reset_ids_and_sequences_start_again() -> None:
    _, static = pair(compile=False)
    first = [track.id for track in static.step(frame(0.0, "a"))]
    static.step(frame(0.5, "b"))
    static.reset()
    assert first and [track.id for track in static.step(frame(0.0, "a"))] == first
    static.reset(sequence=6)
    assert {track.id.split("-")[0] for track in static.step(frame(0.0, "a"))} == {"7"}


def test_what_a_machine_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="needs a GPU, this tracker is on cpu"):
        load_tracker(config(), None, "cpu", static=True, compile=False, cuda_graph=True)
    with pytest.raises(UserError, match="give static=True as well"):
        load_tracker(config(), None, "cpu", cuda_graph=True)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="needs a C\\+\\+ compiler"):
        load_tracker(config(), None, "cpu", static=True)


@pytest.mark.gpu
@pytest.mark.usefixtures("without_tf32")  # with it 1e-4 between kernels
@pytest.mark.parametrize("compile", [False, True])
def test_one_cuda_graph_for_each_frame(compile: bool) -> None:
    ordinary, static = pair("cuda", compile=compile, cuda_graph=True)
    assert same(ordinary, static) > len(SCENE)
    static.reset()
    ordinary.reset()
    assert same(ordinary, static) > len(SCENE)
