"""The tiny tracker on a real GPU: the CPU's numbers, the documents' waits, an exact resume."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from tiny_tracker import clip, tiny_tracker

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("without_tf32")]


def test_losses_and_gradients_are_the_cpus():
    """Of one frame: with random weights last digits decide what the next one's tracks match."""
    batch, found = clip([[4]]), {}
    for device in ("cpu", "cuda"):
        model = tiny_tracker().to(device).train()
        losses = model(batch.to(device))
        sum(v for k, v in losses.items() if "loss" in k).backward()
        gradients = [p.grad.norm() for p in model.parameters() if p.grad is not None]
        found[device] = {k: v.item() for k, v in losses.items()}
        found[device]["gradient"] = torch.stack(gradients).norm().item()
    assert found["cuda"] == pytest.approx(found["cpu"], rel=1e-3, abs=1e-4)


def test_tracks_are_the_cpus():
    batch, found = clip([[4] * 5]), {}
    for device in ("cpu", "cuda"):
        model, memory, boxes = tiny_tracker().to(device).eval(), None, []
        thresholds = replace(model.thresholds, score_threshold=-1.0, output_threshold=-1.0)
        for t in range(5):
            frame = batch.to(device).frame(t)
            output, memory = model.forward_track(frame, memory, thresholds)
            order = sorted(range(len(output.obj_ids)), key=lambda i: output.obj_ids[i])
            boxes.append(output.boxes[order])
        found[device] = boxes
    for ours, expected in zip(found["cuda"], found["cpu"], strict=True):
        assert torch.allclose(ours, expected, rtol=1e-3, atol=1e-3)


def test_a_tracked_frame_waits_once():
    model, batch = tiny_tracker().to("cuda").eval(), clip([[4] * 3])
    host = batch.timestamp
    batch = replace(batch.to("cuda"), timestamp=host, scene_ids=["scene"])
    thresholds = replace(model.thresholds, score_threshold=-1.0)
    memory = None
    for t in range(2):  # the first frames with and without tracks copy constants
        _, memory = model.forward_track(batch.frame(t), memory, thresholds)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            model.forward_track(batch.frame(2), memory, thresholds)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    # The mode itself warns that it is a prototype.
    waits = [str(w.message) for w in caught if "called a synchronizing" in str(w.message)]
    assert len(waits) == 1, waits
