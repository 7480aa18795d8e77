"""Counts of arithmetic, against the formulas."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from laboratory.measuring.arithmetic import count_flop, matmul_rate


def test_products_convolutions_and_attention_are_counted_forward_and_backward():
    a = torch.ones(3, 5, requires_grad=True)
    assert count_flop(lambda: a @ torch.ones(5, 7)) == 2 * 3 * 5 * 7
    assert count_flop(lambda: (a @ torch.ones(5, 7)).sum().backward()) == 2 * 2 * 3 * 5 * 7
    image, weight = torch.ones(1, 2, 6, 8), torch.ones(4, 2, 3, 3)
    assert count_flop(lambda: F.conv2d(image, weight, padding=1)) == 2 * 6 * 8 * 4 * 2 * 9
    # [B, heads, N, d] on [B, heads, S, d]: two products; the fused backward pass has five
    q, kv = torch.ones(1, 2, 6, 4, requires_grad=True), torch.ones(1, 2, 10, 4)
    product = 2 * 2 * 6 * 10 * 4
    attend = F.scaled_dot_product_attention
    assert count_flop(lambda: attend(q, kv, kv)) == 2 * product
    assert count_flop(lambda: attend(q, kv, kv).sum().backward()) == (2 + 5) * product


def test_the_rate_is_that_of_the_precision_asked_for(monkeypatch):
    types = []
    monkeypatch.setattr("laboratory.measuring.arithmetic._SIZE", 8)
    monkeypatch.setattr("laboratory.measuring.arithmetic._SECONDS", 0.0)
    real = torch.Tensor.__matmul__
    monkeypatch.setattr(
        torch.Tensor, "__matmul__", lambda a, b: types.append(a.dtype) or real(a, b)
    )
    assert matmul_rate("fp32") > 0
    assert matmul_rate("bf16") > 0
    assert set(types) == {torch.float32, torch.bfloat16}
