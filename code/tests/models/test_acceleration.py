"""Precision: weights cast once give autocast's numbers."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_tracker import clip, tiny_tracker

from pftrack.errors import UserError
from pftrack.models.acceleration import cast_weights, precision_context


def test_weights_cast_at_load_give_what_autocast_gives():
    model = tiny_tracker().eval()
    cast = copy.deepcopy(model)
    cast_weights(cast, "bf16")
    assert cast.img_backbone.stem[0].weight.dtype == torch.bfloat16
    assert cast.reference_points.weight.dtype == torch.float32
    batch, memories = clip([[4] * 3]), {}
    for t in range(3):
        outputs = []
        for tracker in (model, cast):
            with precision_context("bf16", torch.device("cpu")):
                output, memory = tracker.forward_track(batch.frame(t), memories.get(id(tracker)))
            memories[id(tracker)] = memory
            outputs.append((output.boxes, output.scores, memory.tracks))
        assert torch.equal(outputs[0][0], outputs[1][0])
        assert torch.equal(outputs[0][1], outputs[1][1])
    assert not torch.is_autocast_enabled("cpu")


def test_an_unknown_precision_is_named_before_anything_is_entered():
    with pytest.raises(UserError, match="unknown precision 'fp8': use fp32, fp16 or bf16"):
        precision_context("fp8", torch.device("cpu"))
    precision_context("bf16", torch.device("cpu"))  # asked for, not entered
    assert not torch.is_autocast_enabled("cpu")
