"""The reference runs' arithmetic: the same functions in another order of additions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from laboratory.parity import arithmetic


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


# Rows and columns with and without remainders of the blocks of four.
@pytest.mark.parametrize("shape", [(1, 8), (2, 8), (14, 10), (37, 7), (26, 24), (9, 5)])
@pytest.mark.parametrize("batched", [False, True])
def test_linear_is_linear(shape: tuple[int, int], batched: bool) -> None:
    rows, columns = shape
    x, weight, bias = numbers(rows, 64), numbers(columns, 64), numbers(columns)
    x = x[None] if batched else x
    torch.testing.assert_close(
        arithmetic._linear(x, weight, bias), F.linear(x, weight, bias), rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(
        arithmetic._linear(x, weight), F.linear(x, weight), rtol=1e-5, atol=1e-5
    )


def test_tail_rows_are_those_of_each_thread() -> None:
    assert arithmetic._tail_rows(500, 256) == [248, 249, 498, 499]
    assert arithmetic._tail_rows(503, 256) == [248, 249, 250]
    assert arithmetic._tail_rows(501, 2048) == [500]  # the threads share the columns
    assert arithmetic._tail_rows(1, 256) == [0]
    assert arithmetic._tail_rows(5, 256) == []


def test_sum_has_the_order_of_the_library() -> None:
    # 2^30 swallows single ones: which survive tells what was added to what.
    products = torch.ones(1, 1, 16)
    products[..., 0], products[..., 15] = 2.0**30, -(2.0**30)
    # lane 0: 2^30 with 1, 2, 3, 4, 8, 12; lane 2: 6, 10, 14; lane 3 ends with -2^30.
    assert arithmetic._sum_products(products, 1, 4).item() == 0.0
    products[..., 15], products[..., 14] = 1.0, -(2.0**30)
    assert arithmetic._sum_products(products, 1, 4).item() == 6.0  # lanes 1 and 3


def test_layer_norm_and_attention() -> None:
    x, weight, bias = numbers(5, 64), numbers(64), numbers(64)
    torch.testing.assert_close(
        arithmetic._layer_norm(x, (64,), weight, bias), F.layer_norm(x, (64,), weight, bias)
    )
    q, k, v = numbers(2, 3, 5, 8), numbers(2, 3, 11, 8), numbers(2, 3, 12, 8)[:, :, :11]
    mask = torch.ones(2, 1, 1, 11, dtype=torch.bool)
    mask[..., 4:] = False
    for m in (None, mask):
        torch.testing.assert_close(
            arithmetic._attention(q, k, v, m), F.scaled_dot_product_attention(q, k, v, m)
        )
    with pytest.raises(ValueError, match="no dropout"):
        arithmetic._attention(q, k, v, None, 0.1)


def test_exponential_is_within_one_unit_in_the_last_place() -> None:
    x = -numbers(10_000).abs() * 10
    error = (arithmetic._exp(x).double() - x.double().exp()).abs() / x.double().exp()
    assert error.max() < 2.0**-23


def test_gradients_are_those_of_torch() -> None:
    def gradients(linear, norm, attend) -> list[Tensor]:
        leaves = [numbers(1, 9, 64), numbers(64, 64), numbers(64), numbers(64), numbers(64)]
        x, weight, bias, scale, shift = (leaf.requires_grad_() for leaf in leaves)
        y = norm(linear(x, weight, bias), (64,), scale, shift)
        heads = y.unflatten(-1, (4, 16)).transpose(1, 2)
        (attend(heads, heads, heads) * math.pi).sin().sum().backward()
        return [leaf.grad for leaf in leaves]

    ours = gradients(arithmetic._linear, arithmetic._layer_norm, arithmetic._attention)
    theirs = gradients(F.linear, F.layer_norm, F.scaled_dot_product_attention)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_other_kernels_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NEON")
    with (
        pytest.raises(RuntimeError, match=r"AVX2 kernels, these are NEON: run tools/check_parity"),
        arithmetic.reference_arithmetic({}),
    ):
        pass


def test_functions_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    before = F.linear, F.layer_norm, F.scaled_dot_product_attention, torch.get_num_threads()
    with pytest.raises(KeyError), arithmetic.reference_arithmetic({}):
        assert F.linear is not before[0]
        raise KeyError
    after = F.linear, F.layer_norm, F.scaled_dot_product_attention, torch.get_num_threads()
    assert before == after


def test_empty_rows_do_not_change_the_others() -> None:
    rows = torch.tensor([0, 1, 2, 5, 6])
    instances = {11: rows}
    x, weight, bias = numbers(1, 11, 64), numbers(64, 64), numbers(64)
    value = arithmetic._linear_of(instances, x, weight, bias)
    assert torch.equal(value[:, rows], arithmetic._linear(x[:, rows], weight, bias))
    assert not value[:, [3, 4, 7, 8, 9, 10]].any()
    assert not arithmetic._linear_of({11: rows[:0]}, x, weight, bias).any()

    heads = numbers(1, 4, 11, 16)
    mask = torch.zeros(1, 1, 1, 11, dtype=torch.bool)
    mask[..., rows] = True
    value = arithmetic._attention_of(instances, heads, heads, heads, mask)
    few = heads[:, :, rows]
    assert torch.equal(value[:, :, rows], arithmetic._attention(few, few, few))
    for wrong in (None, ~mask):
        with pytest.raises(ValueError, match="does not leave out"):
            arithmetic._attention_of(instances, heads, heads, heads, wrong)
