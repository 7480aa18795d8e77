"""How much arithmetic something is, and how fast this processor's own matrix product does as much.

How near a step is to its arithmetic at that rate says what layout, casts and everything between the
products still cost. It is a yardstick, not a bound: some convolutions need fewer operations than
are counted, and both sides vary by a tenth.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from pftrack.models.acceleration import DTYPES

_SIZE = 2048  # of the product: larger ones are not faster
_SECONDS = 1.5


# Formulas are called with shapes in place of tensors.
def _attention(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(q, k, v)


def _attention_backward(grad: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, q, k, v)


# PyTorch's own counter knows a GPU's kernels only.
_CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def count_flop(function: Callable[[], object]) -> int:
    """Floating-point operations, two for a multiply-add, of convolutions and products in a call."""
    with FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION) as counter:
        function()
    return counter.get_total_flops()


def matmul_rate(precision: str) -> float:
    """Floating-point operations that a square matrix product makes in a second of CPU time."""
    a, b = torch.randn(2, _SIZE, _SIZE).to(DTYPES.get(precision, torch.float32))
    a @ b  # warm
    start, spent, products = time.process_time(), 0.0, 0
    while spent < _SECONDS or not products:
        a @ b
        products += 1
        spent = time.process_time() - start
    return 2 * _SIZE**3 * products / spent
