"""Multi-head attention on PyTorch's fused kernel, with the parameter names of published weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pftrack.errors import UserError
from pftrack.models.acceleration import full_precision
from pftrack.registry import MODELS
from pftrack.values import AtLeastOne, Share

# Weights of attention that are computed at a time where there is dropout on a CPU.
PART = 1 << 22
# The same in an exported graph: below ONNX opset 23 there is no fused attention, they are stored.
EXPORTED_PART = 40_000_000


@MODELS.register_module(name=["MultiheadAttention", "PETRMultiheadAttention"])
class MultiheadAttention(nn.Module):
    """Attention with positions and residual: ``query + dropout(proj(attend(...)))``.

    ``attn`` is a plain :class:`torch.nn.MultiheadAttention` that only holds the parameters
    (``attn.in_proj_weight``, ``attn.out_proj.weight``, ...): checkpoints name them so.

    Without autocast it computes in the type of its keys; the residual stays in the query's.

    Args:
        embed_dims: width D.  num_heads: heads, D must be divisible by it.
        dropout: of the attention weights and of the residual branch.
    """

    def __init__(
        self, embed_dims: AtLeastOne = 256, num_heads: AtLeastOne = 8, dropout: Share = 0.1
    ) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise UserError(f"embed_dims={embed_dims} is not divisible by num_heads={num_heads}")
        self.num_heads = num_heads
        self.attn = nn.MultiheadAttention(embed_dims, num_heads, dropout)
        self.residual_dropout = nn.Dropout(dropout)
        self._record: list[Tensor] | None = None

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor | None = None,
        key: Tensor | None = None,
        value: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """One attention step with its residual.

        Args:
            query: [B, N, D].  query_pos: [B, N, D] added to the query, not to the residual.
            key: [B, S, D], its positions included; None: self-attention, the key is the query with
                its positions, the value the query without.
            value: [B, S, D].
            key_padding_mask: [B, S] bool, True = ignore this key.

        Returns:
            [B, N, D]
        """
        q_in = query if query_pos is None else query + query_pos
        k_in = q_in if key is None else key
        v_in = query if value is None else value
        q, k, v = (self._split_heads(x) for x in self._project(q_in, k_in, v_in))
        mask = None if key_padding_mask is None else ~key_padding_mask[:, None, None, :]
        if self._record is not None:
            self._record.append(attention_weights(q.detach(), k.detach(), mask))
        dropout = self.attn.dropout if self.training else 0.0
        out = attend(q, k, v, mask, dropout).transpose(1, 2).flatten(2)
        proj = self.attn.out_proj
        out = F.linear(out, proj.weight.to(out.dtype), proj.bias.to(out.dtype))
        return query + self.residual_dropout(out)

    def _project(self, q_in: Tensor, k_in: Tensor, v_in: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values [..., D], in one product for as many as share their input."""
        weight: Tensor = self.attn.in_proj_weight
        bias: Tensor = self.attn.in_proj_bias
        device = q_in.device.type
        half = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if half else k_in.dtype
        # Autocast keeps the casts of whole parameters only: of these parts it would make one for
        # every use.
        weight, bias = weight.to(dtype), bias.to(dtype)
        inputs = (q_in, k_in, v_in)
        shared = 1 + sum(x is q_in for x in inputs[1:]) if k_in is q_in else 1
        dims = self.attn.embed_dim
        sizes = [shared * dims] + [dims] * (3 - shared)
        parts = zip(
            inputs[:1] + inputs[shared:], weight.split(sizes), bias.split(sizes), strict=True
        )
        projected = [F.linear(x.to(dtype), w, b) for x, w, b in parts]
        return (*projected[0].split(dims, dim=-1), *projected[1:])

    def _split_heads(self, x: Tensor) -> Tensor:
        """[B, N, D] -> [B, heads, N, D / heads]"""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """softmax(q k^T / sqrt(d)) v without storing the weights for the backward pass.

    Which of a GPU's kernels computes it: ``acceleration.GPU_ATTENTION``.

    Args:
        q: [B, heads, N, d].  k, v: [B, heads, S, d].  mask: bool, True = attend, broadcastable to
        [B, heads, N, S].  dropout: probability, on the weights.

    Returns:
        [B, heads, N, d]
    """
    if torch.compiler.is_exporting() and not dropout:
        return _attend_by_heads(q, k, v, mask)
    plain = q.device.type != "cpu" or torch.compiler.is_compiling()
    if plain or not dropout:
        return F.scaled_dot_product_attention(q, k, v, mask, dropout)
    # The fused CPU kernel has no dropout.
    shape = q.shape[:2]
    if mask is not None:
        mask = mask.expand(*shape, -1, k.shape[2]).flatten(0, 1)
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))
    with full_precision(q):  # the types are chosen already
        return _DropoutAttention.apply(q, k, v, mask, dropout).unflatten(0, shape)


def _attend_by_heads(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """:func:`attend` without dropout, as many heads at a time as :data:`EXPORTED_PART` allows.

    Args:
        mask: the same for all heads, [B, 1, N or 1, S].
    """
    heads = max(1, EXPORTED_PART // (q.shape[0] * q.shape[2] * k.shape[2]))
    if heads >= q.shape[1]:
        return F.scaled_dot_product_attention(q, k, v, mask)
    parts = zip(q.split(heads, 1), k.split(heads, 1), v.split(heads, 1), strict=True)
    return torch.cat([F.scaled_dot_product_attention(*qkv, attn_mask=mask) for qkv in parts], 1)


class _DropoutAttention(torch.autograd.Function):
    """:func:`attend` of M heads in parts that stay in the cache.

    Nothing of the weights' size is kept: the backward pass computes them anew, and draws anew, from
    the same seed, which of them are dropped.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float
    ) -> Tensor:
        """q: [M, N, d].  k, v: [M, S, d].  mask: [M, 1 or N, S] bool.  Returns [M, N, d]."""
        seed = int(torch.randint(2**62, ()))
        draws = _Draws(dropout, seed)
        out = v.new_empty(len(q), q.shape[1], v.shape[2])
        for part in _parts(q, k):
            weights = _softmax_weights(q[part], k[part], None if mask is None else mask[part])
            out[part] = draws.drop(weights) @ (v[part] * draws.scale)
        ctx.save_for_backward(q, k, v, mask)
        ctx.dropout, ctx.seed = dropout, seed
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the three inputs."""
        q, k, v, mask = ctx.saved_tensors
        draws = _Draws(ctx.dropout, ctx.seed)
        d_q, d_k, d_v = (torch.empty_like(x) for x in (q, k, v))
        for part in _parts(q, k):
            weights = _softmax_weights(q[part], k[part], None if mask is None else mask[part])
            dropped = draws.next(weights.shape)
            scaled = grad[part] * draws.scale
            d_weights = (scaled @ v[part].transpose(1, 2)).masked_fill_(dropped, 0)
            d_logits = torch.ops.aten._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            d_q[part] = d_logits @ (k[part] * _temperature(q))
            d_k[part] = d_logits.transpose(1, 2) @ (q[part] * _temperature(q))
            d_v[part] = weights.masked_fill_(dropped, 0).transpose(1, 2) @ scaled
        return d_q, d_k, d_v, None, None


def _parts(q: Tensor, k: Tensor) -> Iterator[slice]:
    """Slices of the M heads of :data:`PART` weights at a time, or of one head."""
    step = max(1, PART // (q.shape[1] * k.shape[1]))
    return (slice(start, start + step) for start in range(0, len(q), step))


class _Draws:
    """Which weights are dropped, a sequence that follows from the seed.

    Args:
        dropout: probability, rounded to a multiple of 2**-16: four draws are one random number,
            and take as long as one of ``bernoulli_``.

    Attributes:
        scale: of the weights that stay.
    """

    def __init__(self, dropout: float, seed: int) -> None:
        self.threshold = round(dropout * 2**16)
        self.scale = 1 / (1 - self.threshold / 2**16)
        self.generator = torch.Generator().manual_seed(seed)

    def next(self, shape: Sequence[int]) -> Tensor:
        """The next ones, bool of this shape, True = dropped."""
        size = math.prod(shape)
        numbers = torch.empty((size + 3) // 4, dtype=torch.int64)
        numbers.random_(-(2**63), None, generator=self.generator)
        return (numbers.view(torch.int16)[:size] < self.threshold - 2**15).view(*shape)

    def drop(self, weights: Tensor) -> Tensor:
        """``weights`` with zeros, in place."""
        return weights.masked_fill_(self.next(weights.shape), 0)


def _softmax_weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """Weights [M, N, S] in the type of ``q``."""
    logits = (q * _temperature(q)) @ k.transpose(1, 2)
    if mask is not None:
        logits = logits.masked_fill_(~mask, float("-inf"))
    return logits.softmax(-1)


def _temperature(q: Tensor) -> float:
    return q.shape[-1] ** -0.5


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """The weights [B, heads, N, S] themselves: slow and large, for looking at them only."""
    logits = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf"))
    return logits.softmax(-1)


@contextmanager
def record_attention(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Collect the attention weights of every attention module below ``model``.

    Yields:
        module name -> one [B, heads, N, S] tensor for each call inside the ``with`` block.
    """
    modules = {n: m for n, m in model.named_modules() if isinstance(m, MultiheadAttention)}
    records: dict[str, list[Tensor]] = {name: [] for name in modules}
    for name, module in modules.items():
        module._record = records[name]
    try:
        yield records
    finally:
        for module in modules.values():
            module._record = None
