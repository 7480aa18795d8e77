"""What makes a network faster and changes numbers a little: precision, compilation, fused norms.

Bounds: docs/inference.md.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pftrack.errors import UserError

# Flash takes half precision without a mask, memory-efficient the rest. Not cuDNN's, which PyTorch
# prefers on Hopper and later: it makes a plan for every shape, and the number of tracks is another
# in every frame.
GPU_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]

# A subclass may do more than normalise: timm's have the activation in them.
PLAIN_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
PRECISIONS = ("fp32", *DTYPES)


def fuse_conv_bn(model: nn.Module) -> int:
    """Fold every batch norm that follows a convolution into it, in place; eval mode.

    Returns:
        number of batch norms that are gone.
    """
    model.eval()
    return sum(_fuse_children(module) for module in model.modules())


def _fuse_children(module: nn.Module) -> int:
    """Fold the batch norms among a module's children into the convolutions before them."""
    folded, conv = 0, None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            conv = child
        elif type(child) in PLAIN_NORMS and conv is not None:
            norm: Any = child
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight,
                conv.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            setattr(module, name, nn.Identity())
            folded, conv = folded + 1, None
    return folded


def cast_weights(model: nn.Module, precision: str) -> None:
    """Weights of convolutions, linear layers and attention in half precision, once and for all.

    Autocast rounds these very weights in the same way at every use, so the numbers stay what they
    are; norms, embeddings, what computes in full precision and everything else keep float32.
    """
    if precision == "fp32":
        return
    for module in modules_in_half(model):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.to(DTYPES[precision])
        elif isinstance(module, nn.MultiheadAttention):
            for parameter in (module.in_proj_weight, module.in_proj_bias):
                parameter.data = parameter.data.to(DTYPES[precision])


def modules_in_half(module: nn.Module, half: bool = True) -> Iterator[nn.Module]:
    """The module and those below it that compute in half precision where that is asked for.

    A module's ``half_precision`` says so of itself and of those below it, down to the next that has
    one: False for those that switch autocast off.
    """
    half = getattr(module, "half_precision", half)
    if half:
        yield module
    for child in module.children():
        yield from modules_in_half(child, half)


def compile_network(model: Any) -> None:
    """Compile backbone, neck and head; the first frames are slow."""
    compile_modules(model, ("img_backbone", "img_neck"), dynamic=False)
    compile_modules(model, ("pts_bbox_head",), dynamic=True)  # any number of queries


def compile_modules(model: nn.Module, names: Sequence[str], **options: Any) -> None:
    """Compile submodules in place, on their first call; names in the state dict stay.

    Args:
        names: of submodules, e.g. ``img_backbone``; of one that is not called itself
            (``STReasoner``) the parts are compiled.
        options: of ``torch.compile``.

    Raises:
        UserError: no such submodule, one of torch's own layers (compiling them has no effect), or
            no C++ compiler (TorchInductor needs one on every device).
    """
    if not names:
        return
    parts = [name for name, _ in model.named_children()]
    for name in names:
        try:
            model.get_submodule(name)
        except AttributeError:
            raise UserError(
                f"compile={name}: the model has no such part; it has {', '.join(parts)}"
            ) from None
    require_compiler(f"compile={','.join(names)}")
    for name in names:
        modules = list(_compilable(model.get_submodule(name)))
        if not modules:
            raise UserError(
                f"compile={name}: torch.compile leaves torch's own layers as they are; name a part "
                "with a forward of its own"
            )
        for module in modules:
            module.compile(**options)


def require_compiler(what: str) -> None:
    """TorchInductor needs a C++ compiler on every device.

    Args:
        what: the option that asks for compilation, for the message.

    Raises:
        UserError: there is no compiler.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise UserError(
            f"{what} needs a C++ compiler and there is no '{compiler}': install one, set CXX, or "
            "do without compilation"
        )


def _compilable(module: nn.Module) -> Iterator[nn.Module]:
    """The module, or those of its parts that have a ``forward`` which is not torch's own."""
    torchs_own = type(module).__module__.startswith("torch.")
    if type(module).forward is not nn.Module.forward and not torchs_own:
        yield module
        return
    for child in module.children():
        yield from _compilable(child)


def precision_context(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """What surrounds the network: autocast for ``fp16`` or ``bf16``, a GPU's attention kernels.

    Geometry and thresholds stay in fp32.

    Raises:
        UserError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise UserError(f"unknown precision '{precision}': use fp32, fp16 or bf16")
    contexts: list[AbstractContextManager[Any]] = []
    if precision in DTYPES:
        contexts.append(torch.autocast(device.type, DTYPES[precision]))
    if device.type == "cuda":
        # The fused kernels' backward passes add in any order.
        repeatable = torch.are_deterministic_algorithms_enabled()
        contexts.append(sdpa_kernel(SDPBackend.MATH if repeatable else GPU_ATTENTION))
    return _all_of(contexts)


@contextmanager
def _all_of(contexts: Sequence[AbstractContextManager[Any]]) -> Iterator[None]:
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


def full_precision(like: torch.Tensor) -> AbstractContextManager[Any]:
    """No autocast on the device of ``like``: positions and costs need the digits of float32."""
    return torch.autocast(like.device.type, enabled=False)
