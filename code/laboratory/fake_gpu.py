"""What a GPU would be asked to do, counted on fake tensors: kernels, memory, arithmetic.

Fake tensors have shapes, types and devices but no values, so no GPU is needed. Every function here
belongs in a process of its own: the stand-ins for the CUDA driver stay where they were first used.
"""

from __future__ import annotations

import collections
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch._dynamo  # what fake tensors import at first use
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from laboratory.synthetic import noise_clip
from pftrack import models  # noqa: F401 (registers the components)
from pftrack.config import load_config
from pftrack.models.acceleration import DTYPES, fuse_conv_bn, modules_in_half
from pftrack.models.backbones.vovnet import VoVNet
from pftrack.models.box_coder import denormalize_bbox
from pftrack.models.layers import attention
from pftrack.models.losses import tracking_loss
from pftrack.models.trackers import tracker
from pftrack.registry import build_model
from pftrack.training.mm_config import read_settings
from pftrack.training.optimizer import build_optimizer

OBJECTS, LIVE_TRACKS = 40, 60
GIB = 2**30
# Names of operations that launch nothing.
_FREE = ("prim::", "aten::empty", "aten::new_empty", "aten::detach", "aten::lift", "aten::alias")


class Launches(TorchDispatchMode):
    """Counts the operations that start a kernel, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not (op.is_view or op.name().startswith((*_FREE, "aten::_unsafe_view"))):
            self.counts[op.name()] += 1
        return op(*args, **(kwargs or {}))


class Memory(TorchDispatchMode):
    """Bytes of all living storages, in blocks of 512 as CUDA's allocator has them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()
        for tensor in [*model.parameters(), *model.buffers()]:
            self._add(tensor)

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = op(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._add(tensor)
        self.peak = max(self.peak, self.now)
        return out

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, -(-storage.nbytes() // 512) * 512
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def tracked_frame_launches(config: str, precision: str) -> collections.Counter[str]:
    """Kernels of a tracked frame with live tracks, weights as ``load_tracker`` leaves them."""
    with stand_ins("cuda"):
        model, size = _model(config, "cuda")
        model.eval()
        fuse_conv_bn(model)
        _cast_fake_weights(model, precision)
        batch = noise_clip(size, 3).to("cuda", non_blocking=True)
        memory, counter = None, Launches()
        with patch.object(tracker, "live_on", _live_on):
            for t in range(3):
                counter = Launches()
                with _autocast("cuda", precision), counter:
                    _, memory = model.forward_track(batch.normalized().frame(t), memory)
    return counter.counts


def training_forward_launches(config: str, precision: str) -> collections.Counter[str]:
    """Kernels of the forward pass of a training step; the backward pass needs a real GPU."""
    with stand_ins("cuda"):
        model, size = _model(config, "cuda")
        model.train()
        model.grid_mask = None  # drawn on the host, from values
        batch = noise_clip(size, _frames(config), OBJECTS).to("cuda").normalized()
        with _autocast("cuda", precision):
            model(batch)  # makes what is kept from step to step
        with _autocast("cuda", precision), Launches() as counter:
            model(batch)
    return counter.counts


@dataclass(frozen=True)
class StepCost:
    """Of a whole training step of one clip.

    Attributes:
        weights: GiB of parameters and buffers.  peak: GiB, in the second step.
        tflop: 10^12 operations, multiplications and additions apart, recomputation included.
    """

    weights: float
    peak: float
    tflop: float


def training_step_cost(config: str, precision: str, *overrides: str) -> StepCost:
    """Peak memory and arithmetic of a training step: forward, backward, clipping, optimiser.

    On fake CPU tensors (the backward pass of fake CUDA ones needs a GPU), with the operations that
    a GPU takes in place of the CPU's: its attention kernels, layer norm in float32.
    """
    with stand_ins("cpu"):
        model, size = _model(config, "cpu", *overrides)
        model.train()
        if model.grid_mask is not None:
            model.grid_mask = _FakeMask()
        settings = read_settings(load_config(_path(config)))
        optimizer = build_optimizer(model, settings.optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        memory = Memory(model)
        weights = memory.now

        def step() -> None:
            batch = noise_clip(size, _frames(config), OBJECTS)
            with _autocast("cpu", precision):
                losses = model(batch.normalized())
            torch.stack([v.float() for k, v in losses.items() if "loss" in k]).sum().backward()
            nn.utils.clip_grad_norm_(parameters, 35.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        with memory:
            step()
            memory.peak = memory.now
            step()
        with FlopCounterMode(display=False) as flops:
            step()
    return StepCost(weights / GIB, memory.peak / GIB, flops.get_total_flops() / 1e12)


class _FakeMask(nn.Module):
    """GridMask's product without its draw, which needs values."""

    def forward(self, images: Tensor) -> Tensor:
        mask = torch.ones(images.shape[-2:], dtype=torch.bool, device=images.device)
        return images * mask.to(images)


def _path(config: str) -> str:
    return f"projects/configs/tracking/{config}.py"


def _frames(config: str) -> int:
    return int(load_config(_path(config)).data.train.num_frames_per_sample)


def _model(config: str, device: str, *overrides: str) -> tuple[Any, tuple[int, int]]:
    cfg = load_config(_path(config), list(overrides))
    with torch.device(device):
        model = build_model(cfg.model)
    height, width = cfg.data.train.ida_aug_conf.final_dim
    return model, (int(height), int(width))


def _cast_fake_weights(model: nn.Module, precision: str) -> None:
    """``acceleration.cast_weights``, which exchanges data that fake parameters do not have."""
    if precision == "fp32":
        return
    for module in list(modules_in_half(model)):
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.MultiheadAttention)):
            for name, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, name, nn.Parameter(parameter.detach().to(DTYPES[precision])))


def _autocast(device: str, precision: str) -> Any:
    return torch.autocast(device, DTYPES.get(precision), enabled=precision in DTYPES)


@contextmanager
def stand_ins(device: str) -> Iterator[None]:
    """Fake tensors, and what takes the place of values read on the host."""
    hooks = ("register_hook", "register_post_accumulate_grad_hook")
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(patch.object(attention, "attend", _gpu_attend))
        stack.enter_context(
            patch.multiple(tracking_loss, _to_host=_assigned_costs, _to_device=_zeros_on)
        )
        # autocast asks for the driver, and hooks of tensors without gradient are refused.
        stack.enter_context(
            patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
        )
        stack.enter_context(patch("torch.cuda.is_bf16_supported", lambda *_a, **_k: True))
        for name in hooks:
            stack.enter_context(patch.object(Tensor, name, _tolerant(getattr(Tensor, name))))
        if device == "cpu":
            stack.enter_context(patch.object(nn.LayerNorm, "forward", _layer_norm_fp32))
            stack.enter_context(patch.object(VoVNet, "_group_bytes", lambda *_: None))
        yield


def _tolerant(register: Any) -> Any:
    class Handle:
        def remove(self) -> None:
            """Nothing was registered."""

    def hook(tensor: Tensor, function: Any) -> Any:
        return register(tensor, function) if tensor.requires_grad else Handle()

    return hook


def _live_on(instances: Any, memory: Any, pose: Any, *_options: Any) -> Any:
    """The life cycle without its decisions: packs what goes to the host, keeps some rows."""
    state = instances.state
    columns = [
        denormalize_bbox(state.bboxes),
        state.motion_predictions[..., :2].flatten(1),
        state.scores[:, None],
        state.logits.argmax(-1, keepdim=True),
        instances.obj_idxes[:, None],
        instances.disappear_time[:, None],
        instances.track_query_mask[:, None],
        instances.hist_embeds.isfinite().flatten(1).all(1, keepdim=True),
    ]
    torch.cat([c.double() for c in columns], 1)
    rows = torch.arange(LIVE_TRACKS, device=state.bboxes.device)
    return None, replace(memory, tracks=instances.select(rows), last=pose)


def _assigned_costs(
    costs: Sequence[Tensor], carried: Sequence[Tensor]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Costs by chance; instances after the detection queries carry one object each."""
    generator = np.random.default_rng(0)
    rows = []
    for cost, instances in zip(costs, carried, strict=True):
        row = np.full(len(instances), -1)
        tracks = len(instances) - int(cost.shape[1] // 100 * 100)
        row[len(row) - tracks :] = np.arange(tracks)
        rows.append(row)
    return [generator.random(tuple(c.shape), np.float32) for c in costs], rows


def _zeros_on(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.zeros(array.shape, dtype=torch.int64, device=device)


def _gpu_attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """The kernels that ``acceleration.GPU_ATTENTION`` chooses."""
    ops = torch.ops.aten
    if mask is None and q.dtype in DTYPES.values():
        return ops._scaled_dot_product_flash_attention(q, k, v, dropout)[0]
    bias = None
    if mask is not None:
        bias = torch.where(mask, q.new_zeros(()), q.new_full((), float("-inf")))
        keys = bias.shape[-1]
        bias = F.pad(bias, (0, -keys % 16))[..., :keys].expand(*q.shape[:3], keys)
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    return ops._scaled_dot_product_efficient_attention(q, k, v, bias, learns, dropout)[0]


def _layer_norm_fp32(self: nn.LayerNorm, x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return F.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps)
