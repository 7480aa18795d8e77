"""The weights of the reference runs: a formula of each parameter's name, nothing stored."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

_CLS_OUTPUT = re.compile(
    r"(pts_bbox_head\.cls_branches\.\d+|STReasoner\.track_cls)\.6\.(weight|bias)"
)
_CODE_WEIGHTS = [1.0] * 8 + [0.2] * 2


def named_generator(name: str) -> np.random.Generator:
    """A generator seeded by the first 64 bits of the name's SHA-256."""
    return np.random.Generator(
        np.random.PCG64(int(hashlib.sha256(name.encode()).hexdigest()[:16], 16))
    )


def formula(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of one state-dict entry: float64 arithmetic, float32 (counters int64) result."""
    last = key.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, dtype=np.int64)
    if key == "criterion.code_weights":
        return np.array(_CODE_WEIGHTS, dtype=np.float32)
    rng = named_generator(key)
    if key == "reference_points.weight":
        return rng.uniform(0, 1, size=shape).astype(np.float32)
    return _normal_entry(key, last, rng.standard_normal(shape)).astype(np.float32)


def _normal_entry(key: str, last: str, n: np.ndarray) -> np.ndarray:
    """Scale standard normal draws for the entry's role."""
    if last == "running_mean":
        return 0.1 * n
    if last == "running_var":
        return 1 + 0.2 * np.abs(n)
    if last.endswith("weight") and n.ndim == 1:
        return 1 + 0.1 * n
    is_cls_output = _CLS_OUTPUT.fullmatch(key) is not None
    if n.ndim >= 2:
        fan_in = int(np.prod(n.shape[1:]))
        if is_cls_output:
            n = n - n.mean(axis=1, keepdims=True)
        return n * _gain(key, last, n.ndim, fan_in, is_cls_output) / np.sqrt(fan_in)
    bias = (0.02 if ".decoder." in key else 0.1) * n
    return bias - 4.0 if is_cls_output else bias


def _gain(key: str, last: str, ndim: int, fan_in: int, is_cls_output: bool) -> float:
    if is_cls_output:
        return 3.0
    if key == "query_feat_embedding.weight":
        return float(np.sqrt(fan_in))
    if key.startswith("query_embedding."):
        return 2.0
    if last == "in_proj_weight":
        return 1.5
    if key.endswith((".attn.out_proj.weight", ".ffns.0.layers.1.weight")):
        return 0.5 if ".attentions.1." in key else 0.2
    if key == "pts_bbox_head.input_proj.weight":
        return 0.5
    return float(np.sqrt(2)) if ndim == 4 else 1.0


def fill(
    model: nn.Module, prefix: str = "", cls_bias: Mapping[str, list[float]] | None = None
) -> None:
    """Overwrite a model's whole state with the formula.

    Args:
        model: filled in place; of tensors that several keys share, the first key counts.
        prefix: of the model's keys within the whole tracker, e.g. ``img_backbone.``.
        cls_bias: values that replace the formula's, by key.
    """
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() in seen and tensor.numel() > 0:
            continue
        seen.add(tensor.data_ptr())
        key = prefix + name
        value = formula(key, tuple(tensor.shape))
        if cls_bias and key in cls_bias:
            value = np.asarray(cls_bias[key], dtype=np.float32)
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(value))
