"""Kernels and memory of a frame and of a step, on fake tensors: a GPU waits for each to be started.

BEFORE: the counts when casts, losses of all layers and encodings were not yet done once.
"""

from __future__ import annotations

import pytest
from another_process import in_another_process

from laboratory import fake_gpu

BEFORE = {
    ("tracked_frame_launches", "petr/f3_q500_800x320", "fp16"): 1719,
    ("tracked_frame_launches", "detr3d/f3_q500_1600x640", "fp16"): 2211,
    ("training_forward_launches", "petr/f3_q500_800x320", "bf16"): 5166,
}


@pytest.mark.parametrize("case", BEFORE, ids=lambda case: "-".join(case))
def test_a_third_fewer_kernels(case: tuple[str, str, str]) -> None:
    counts = in_another_process(getattr(fake_gpu, case[0]), *case[1:])
    assert sum(counts.values()) <= 0.7 * BEFORE[case]


def test_memory_of_a_step_is_what_a_gpu_allocates() -> None:
    """An H100 allocated at most 2.30 GiB when the backbone's stem was stored (make gpu-check)."""
    step = (fake_gpu.training_step_cost, "petr/f1_q500_800x320", "bf16")
    blocks_alone = "model.img_backbone.checkpoint_stages=['stage2','stage3','stage4','stage5']"
    stored = in_another_process(*step, blocks_alone)
    assert 2.0 < stored.peak < 2.30
    assert 4.0 < stored.tflop < 4.4
    cost = in_another_process(*step)
    assert cost.peak < 0.95 * stored.peak
    assert stored.tflop < cost.tflop < 1.02 * stored.tflop
