"""Options that make inference faster and change numbers a little; bounds: docs/inference.md."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from pftrack.errors import UserError

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def fuse_conv_bn(model: nn.Module) -> int:
    """Fold every batch norm that follows a convolution into it, in place.

    Returns:
        number of batch norms that are gone.
    """
    from mmcv.cnn import fuse_conv_bn as fuse

    def count() -> int:
        return sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())

    before = count()
    fuse(model.eval())
    return before - count()


def compile_network(model: Any) -> None:
    """Compile backbone, neck and head; the first frames are slow."""
    for name in ("img_backbone", "img_neck", "pts_bbox_head"):
        module = getattr(model, name)
        module.forward = torch.compile(module.forward, dynamic=name == "pts_bbox_head")


def precision_context(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Autocast for ``fp16`` or ``bf16``; geometry and thresholds stay in fp32.

    Raises:
        UserError: an unknown precision.
    """
    if precision == "fp32":
        return nullcontext()
    if precision not in DTYPES:
        raise UserError(f"unknown precision '{precision}': use fp32, fp16 or bf16")
    return torch.autocast(device.type, DTYPES[precision])
