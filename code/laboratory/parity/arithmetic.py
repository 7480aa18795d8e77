"""The arithmetic of the reference runs on today's PyTorch.

With the golden files' random weights on random images, some queries of DETR3D's head multiply a
difference in the last digit two- to tenfold a layer and carry it into the next frame: its files
can only be compared in the rounding they were made with. That is torch 1.9.0 with MKL 2020 on two
threads of an AVX2 machine. Most of today's operations agree with it to the last bit, given
``MKL_CBWR=COMPATIBLE`` and ``ATEN_CPU_CAPABILITY=avx2`` before torch is imported; those that do not
are written here in its order of additions. Gradients stay PyTorch's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pftrack.geometry import change_lidar_frame
from pftrack.models.backbones import vovnet
from pftrack.models.box_coder import denormalize_points, inverse_sigmoid
from pftrack.models.dense_heads import base
from pftrack.models.dense_heads.detr3d_head import DETR3DCamTrackingHead
from pftrack.models.layers.attention import MultiheadAttention
from pftrack.models.trackers.track_instances import TrackInstances
from pftrack.models.trackers.tracker import Cam3DTracker
from pftrack.structures import FramePose

THREADS = 2
LANES = 8  # floats of an AVX2 register
SSE_LANES = 4  # MKL's matrix-vector product uses the older registers
SMALLEST_EXPONENT = -104.0
MIN_PART = 8  # rows; smaller matrix products have no separate tail

_native_linear, _native_layer_norm = F.linear, F.layer_norm


# The places [N] of the instances among the rows of a static step, by the number of rows.
Instances = Mapping[int, Tensor]


def arithmetic_of(model: Any) -> AbstractContextManager[None]:
    """:func:`reference_arithmetic` for a model that needs it; PETR's heads attend to every pixel,
    are smooth, and are compared as they are."""
    return reference_arithmetic({}) if needs_arithmetic(model) else nullcontext()


def needs_arithmetic(model: Any) -> bool:
    """A last digit decides about its numbers."""
    return isinstance(model.pts_bbox_head, DETR3DCamTrackingHead)


@contextmanager
def reference_arithmetic(instances: Instances) -> Iterator[None]:
    """Backbone, linear layers, layer norms, attention, DETR3D's boxes round as in the reference.

    Args:
        instances: a product's rounding depends on the number of its rows, and the reference has
            no empty ones: of tensors with as many rows as stated here only these are computed, the
            others are zero.

    Raises:
        RuntimeError: this torch has no such kernels, or the environment variables came too late.
    """
    kernels = torch.backends.cpu.get_cpu_capability()
    if kernels != "AVX2" or not torch.backends.mkl.is_available():
        raise RuntimeError(
            f"DETR3D's files need torch with MKL on AVX2 kernels, these are {kernels}: run "
            "tools/check_parity.py on an x86 machine"
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with ExitStack() as stack:
            for target, name, function in (
                (F, "linear", partial(_linear_of, instances)),
                (F, "layer_norm", _layer_norm),
                (F, "scaled_dot_product_attention", partial(_attention_of, instances)),
            ):
                stack.enter_context(mock.patch.object(target, name, function))
            stack.enter_context(_ElementwiseOf(instances))
            stack.enter_context(mock.patch.object(MultiheadAttention, "_project", _project))
            stack.enter_context(_boxes_in_place())
            stack.enter_context(mock.patch.object(Cam3DTracker, "move", _move))
            # A convolution's rounding depends on the images that it takes: here all of a frame.
            stack.enter_context(mock.patch.object(vovnet, "GROUP_BYTES", 1 << 50))
            yield
    finally:
        torch.set_num_threads(threads)


# --- empty rows -----------------------------------------------------------------------------------


def _linear_of(
    instances: Instances, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """:func:`_linear` of the rows that are instances, whichever dimension they are in."""
    for dim, size in enumerate(x.shape[:-1]):
        if size in instances:
            if not len(instances[size]):
                return x.new_zeros(*x.shape[:-1], len(weight))
            value = _linear(x.index_select(dim, instances[size]), weight, bias)
            return _with_empty_rows(value, dim, size, instances)
    return _linear(x, weight, bias)


def _attention_of(
    instances: Instances,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """:func:`_attention` between instances without the rows that are none.

    Raises:
        ValueError: ``mask`` is not that of the instances.
    """
    size = k.shape[2]
    if q.shape[2] != size or size not in instances:
        return _attention(q, k, v, mask, dropout)
    rows = instances[size]
    if mask is None or mask.squeeze().nonzero().flatten().tolist() != rows.tolist():
        raise ValueError("attention does not leave out the rows that are no instances")
    q, k, v = (x.index_select(2, rows) for x in (q, k, v))
    value = _attention(q, k, v, dropout=dropout)
    return _with_empty_rows(value, 2, size, instances)


class _ElementwiseOf(TorchFunctionMode):
    """Exponentials and the like of the rows that are instances, in their place in memory: the last
    few of a tensor are computed one by one, which rounds otherwise."""

    FUNCTIONS = frozenset(
        getattr(home, name)
        for home in (torch, torch.Tensor)
        for name in ("sigmoid", "exp", "log", "sin", "cos")
    )

    def __init__(self, instances: Instances) -> None:
        super().__init__()
        self.instances = instances

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """``func``, of fewer rows."""
        kwargs = kwargs or {}
        if func in self.FUNCTIONS and not kwargs:
            (x,) = args
            for dim, size in enumerate(x.shape):
                if size in self.instances:
                    value = func(_selected(x, dim, self.instances[size]))
                    return _with_empty_rows(value, dim, size, self.instances)
        return func(*args, **kwargs)


def _selected(x: Tensor, dim: int, rows: Tensor) -> Tensor:
    """``x.index_select(dim, rows)`` with gaps between its entries where ``x`` has them."""
    size, inner = x.shape[dim], x.stride(dim)
    strides = [s // size * len(rows) if s > inner else s for s in x.stride()]
    few = x.index_select(dim, rows)
    return torch.empty_strided(few.shape, strides, dtype=x.dtype).copy_(few)


def _with_empty_rows(value: Tensor, dim: int, size: int, instances: Instances) -> Tensor:
    shape = list(value.shape)
    shape[dim] = size
    return value.new_zeros(shape).index_copy(dim, instances[size], value)


# --- linear layers --------------------------------------------------------------------------------


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Matrices with their bias in one call, anything else with the bias added afterwards."""
    with torch.no_grad():
        rows = x.reshape(-1, x.shape[-1])
        if x.dim() == 2 and bias is not None:
            value = torch.addmm(bias, rows, weight.t())
        else:
            value = rows @ weight.t()
            value = value if bias is None else value + bias
        tail = _tail_rows(len(rows), len(weight))
        if tail and x.shape[-1] % SSE_LANES == 0:
            product = _matrix_vector(rows[tail], weight)
            value[tail] = product if bias is None else product + bias
        value = value.view(*x.shape[:-1], -1)
    return _with_gradient(value, _native_linear, x, weight, bias)


def _project(attention: Any, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys and values one by one, which the width of a product tells from together."""
    weights, biases = attention.attn.in_proj_weight.chunk(3), attention.attn.in_proj_bias.chunk(3)
    parts = zip(inputs, weights, biases, strict=True)
    return tuple(F.linear(x, weight, bias) for x, weight, bias in parts)


def _tail_rows(rows: int, columns: int) -> list[int]:
    """Rows that MKL computes one by one: it gives each thread a half of the longer side, and works
    on four rows at a time."""
    if rows == 1:
        return [0]
    starts = [0, rows // THREADS, rows] if columns <= rows else [0, rows]
    return [
        row
        for start, end in pairwise(starts)
        if end - start >= MIN_PART
        for row in range(end - (end - start) % SSE_LANES, end)
    ]


def _matrix_vector(rows: Tensor, weight: Tensor) -> Tensor:
    """[..., R, K] times [..., N, K] as [..., R, N] in the order of MKL's single-precision gemv.

    The first four products are summed one by one, the others in four lanes. Columns go by four;
    in those left over the last products are summed one by one, too.
    """
    products = rows[..., :, None, :] * weight[..., None, :, :]
    whole = weight.shape[-2] - weight.shape[-2] % SSE_LANES
    left = products[..., whole:, :].split(1, dim=-2)
    columns = [_sum_products(products[..., :whole, :], unrolled=1, stepped=SSE_LANES)]
    for i, column in enumerate(left):
        columns.append(_sum_products(column, unrolled=2 - i % 2, stepped=2 * SSE_LANES))
    return torch.cat(columns, dim=-1)


def _sum_products(products: Tensor, unrolled: int, stepped: int) -> Tensor:
    """Sum over the last dimension: ``unrolled`` accumulators of four lanes over as many entries as
    are divisible by ``stepped``."""
    head = products[..., :SSE_LANES].unbind(-1)
    first = ((head[0] + head[1]) + head[2]) + head[3]
    rest = products[..., SSE_LANES:]
    end = rest.shape[-1] - rest.shape[-1] % stepped
    steps = rest[..., :end].unflatten(-1, (-1, unrolled, SSE_LANES)).unbind(-3)
    lanes = rest.new_zeros(*rest.shape[:-1], unrolled, SSE_LANES)
    lanes[..., 0, 0] = first
    for step in steps:
        lanes = lanes + step
    a, b, c, d = lanes.sum(-2).unbind(-1)
    total = (a + c) + (b + d)
    for entry in rest[..., end:].unbind(-1):
        total = total + entry
    return total


# --- layer norm -----------------------------------------------------------------------------------


def _layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor,
    bias: Tensor,
    eps: float = 1e-5,
) -> Tensor:
    """Mean and mean square in one pass over eight lanes."""
    with torch.no_grad():
        chunks = x.unflatten(-1, (-1, LANES)).unbind(-2)
        total, squares = chunks[0], chunks[0] * chunks[0]
        for chunk in chunks[1:]:
            total, squares = total + chunk, _fma(chunk, chunk, squares)
        n = x.shape[-1]
        mean = _sum_lanes(total) / n
        scale = torch.rsqrt((_sum_lanes(squares) / n - mean * mean).clamp(min=0) + eps)
        value = _fma(_fma(x, scale, -scale * mean), weight, bias)
    return _with_gradient(value, _native_layer_norm, x, normalized_shape, weight, bias, eps)


def _sum_lanes(lanes: Tensor) -> Tensor:
    """[..., L] as [..., 1], lane by lane."""
    total = lanes[..., :1]
    for i in range(1, lanes.shape[-1]):
        total = total + lanes[..., i : i + 1]
    return total


def _fma(a: Tensor, b: Tensor, c: Tensor | float) -> Tensor:
    """a * b + c, rounded once."""
    c = c.double() if isinstance(c, Tensor) else c
    return (a.double() * b.double() + c).float()


# --- attention ------------------------------------------------------------------------------------


def _attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Query divided by sqrt(d), batched products, softmax; [B, heads, N, d], without dropout."""
    if dropout:
        raise ValueError("the reference runs have no dropout")
    lead = q.shape[:2]
    q, k, v = (x.flatten(0, 1).contiguous() for x in (q, k, v))
    logits = _similarities(q / math.sqrt(q.shape[-1]), k)
    if mask is not None:
        logits = logits.unflatten(0, lead).masked_fill(~mask, float("-inf")).flatten(0, 1)
    with torch.no_grad():
        powers = _exp(logits - logits.amax(-1, keepdim=True))
        padded = F.pad(powers, (0, -powers.shape[-1] % LANES))
        chunks = padded.unflatten(-1, (-1, LANES)).unbind(-2)
        total = chunks[0]
        for chunk in chunks[1:]:
            total = total + chunk
        value = powers * (1 / _sum_lanes(total))
    weights = _with_gradient(value, torch.softmax, logits, -1)
    return torch.bmm(weights, v).unflatten(0, lead)


def _similarities(q: Tensor, k: Tensor) -> Tensor:
    """q k^T of [B, N, d] and [B, S, d]; one thread has all rows of a head."""
    with torch.no_grad():
        value = torch.bmm(q, k.transpose(-2, -1))
        tail = slice(q.shape[1] - q.shape[1] % SSE_LANES, None)
        value[:, tail] = _matrix_vector(q[:, tail], k)
    return _with_gradient(value, lambda q, k: torch.bmm(q, k.transpose(-2, -1)), q, k)


def _exp(x: Tensor) -> Tensor:
    """The exponential of SLEEF (``Sleef_expf8_u10``): range reduction and a polynomial."""
    exponent = torch.round(x * torch.tensor(1 / math.log(2)))
    rest = _fma(exponent, torch.tensor(-0.693145751953125), x)
    rest = _fma(exponent, torch.tensor(-1.428606765330187045e-06), rest)
    y = torch.full_like(rest, 0.000198527617612853646278381)
    for c in (
        0.00139304355252534151077271,
        0.00833336077630519866943359,
        0.0416664853692054748535156,
        0.166666671633720397949219,
        0.5,
    ):
        y = _fma(y, rest, torch.tensor(c))
    power = torch.ldexp(1 + _fma(rest * rest, y, rest), exponent.int())
    return power.masked_fill(x < SMALLEST_EXPONENT, 0)


# --- boxes ----------------------------------------------------------------------------------------


@contextmanager
def _boxes_in_place() -> Iterator[None]:
    """DETR3D's boxes by a sigmoid of the code's columns where they stand, which rounds otherwise
    than the next layer's one of all points together."""
    forward = DETR3DCamTrackingHead.forward
    points: list[Tensor] = []

    def refine_code(
        raw: Tensor, reference_points: Tensor, pc_range: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        offsets = inverse_sigmoid(reference_points)
        columns = [raw[..., :2] + offsets[..., :2], raw[..., 4:5] + offsets[..., 2:]]
        code = raw.clone()
        for where, value in zip((slice(0, 2), slice(4, 5)), columns, strict=True):
            code[..., where] = value
            code[..., where] = code[..., where].sigmoid()
        points[:] = [torch.cat([code[..., :2], code[..., 4:5]], dim=-1)]
        x, y, z = denormalize_points(points[0], pc_range).unbind(-1)
        metric = [x, y, *code[..., 2:4].unbind(-1), z, *code[..., 5:].unbind(-1)]
        return torch.stack(metric, dim=-1), torch.cat(columns, dim=-1).sigmoid()

    def detect(self: Any, *args: Any, **options: Any) -> Any:
        return replace(forward(self, *args, **options), reference_points=points[0])

    with (
        mock.patch.object(base, "refine_code", refine_code),
        mock.patch.object(DETR3DCamTrackingHead, "forward", detect),
    ):
        yield


def _move(
    tracker: Cam3DTracker, tracks: TrackInstances, frame: FramePose, next_frame: FramePose
) -> TrackInstances:
    """:meth:`Cam3DTracker.move` through the world, tracking as training."""
    return tracker.move_by(
        tracks,
        next_frame.timestamp[0] - frame.timestamp[0],
        lambda points: change_lidar_frame(points, frame.l2g[0], next_frame.l2g[0]),
    )


def _with_gradient(value: Tensor, native: Any, *args: Any) -> Tensor:
    """``value`` with the gradient of ``native(*args)``, which it equals but for rounding."""
    if not torch.is_grad_enabled():
        return value
    return _Valued.apply(native(*args), value)


class _Valued(torch.autograd.Function):
    """The second argument with the gradient of the first."""

    @staticmethod
    def forward(ctx: Any, native: Tensor, value: Tensor) -> Tensor:
        """Of the same shape."""
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """All of it goes to the first."""
        return gradients[0], None
