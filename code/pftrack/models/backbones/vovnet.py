"""VoVNetV2 (Lee and Park, "CenterMask", CVPR 2020): one-shot aggregation with effective SE.

State-dict names are those of detectron2-style checkpoints (``stem.stem_1/conv.weight``,
``stage4.OSA4_3.layers.0.OSA4_3_0/conv.weight``), so published weights load unchanged.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from pftrack.errors import UserError
from pftrack.registry import MODELS

STAGES = ("stage2", "stage3", "stage4", "stage5")
# On a CPU a larger map is fresh memory in every block, and costs its pages as well as its cache.
GROUP_BYTES = 16 << 20
# Of an exported graph, where every group is as many operators more: what fits beside the weights.
EXPORTED_GROUP_BYTES = 200 << 20


@dataclass(frozen=True)
class VoVNetSpec:
    """Widths of stem, 3x3 convolutions and outputs; convolutions per block, blocks per stage."""

    stem: tuple[int, int, int]
    stage_conv_ch: tuple[int, int, int, int]
    stage_out_ch: tuple[int, int, int, int]
    layer_per_block: int
    block_per_stage: tuple[int, int, int, int]
    depthwise: bool = False


_SLIM = ((64, 80, 96, 112), (112, 256, 384, 512))
_FULL = ((128, 160, 192, 224), (256, 512, 768, 1024))
_TINY = ((32, 48, 64, 80), (64, 128, 192, 256))  # ours, for the demo on two CPU cores
SPECS = {
    "V-19-tiny-eSE": VoVNetSpec((16, 16, 32), *_TINY, 3, (1, 1, 1, 1)),
    "V-19-slim-dw-eSE": VoVNetSpec((64, 64, 64), *_SLIM, 3, (1, 1, 1, 1), depthwise=True),
    "V-19-dw-eSE": VoVNetSpec((64, 64, 64), *_FULL, 3, (1, 1, 1, 1), depthwise=True),
    "V-19-slim-eSE": VoVNetSpec((64, 64, 128), *_SLIM, 3, (1, 1, 1, 1)),
    "V-19-eSE": VoVNetSpec((64, 64, 128), *_FULL, 3, (1, 1, 1, 1)),
    "V-39-eSE": VoVNetSpec((64, 64, 128), *_FULL, 5, (1, 1, 2, 2)),
    "V-57-eSE": VoVNetSpec((64, 64, 128), *_FULL, 5, (1, 1, 4, 3)),
    "V-99-eSE": VoVNetSpec((64, 64, 128), *_FULL, 5, (1, 3, 9, 3)),
}


def conv_bn(
    name: str, in_ch: int, out_ch: int, kernel: int = 3, stride: int = 1
) -> list[tuple[str, nn.Module]]:
    """Convolution without bias, batch norm, ReLU, as named members of a Sequential."""
    conv = nn.Conv2d(in_ch, out_ch, kernel, stride, kernel // 2, bias=False)
    return [
        (f"{name}/conv", conv),
        (f"{name}/norm", nn.BatchNorm2d(out_ch)),
        (f"{name}/relu", nn.ReLU(inplace=True)),
    ]


def depthwise_conv_bn(
    name: str, in_ch: int, out_ch: int, stride: int = 1
) -> list[tuple[str, nn.Module]]:
    """3x3 depthwise and 1x1 pointwise convolution, batch norm, ReLU."""
    depthwise = nn.Conv2d(in_ch, out_ch, 3, stride, 1, groups=out_ch, bias=False)
    return [
        (f"{name}/dw_conv3x3", depthwise),
        (f"{name}/pw_conv1x1", nn.Conv2d(out_ch, out_ch, 1, bias=False)),
        (f"{name}/pw_norm", nn.BatchNorm2d(out_ch)),
        (f"{name}/pw_relu", nn.ReLU(inplace=True)),
    ]


def _sequential(members: list[tuple[str, nn.Module]]) -> nn.Sequential:
    return nn.Sequential(OrderedDict(members))


class EffectiveSE(nn.Module):
    """Channel gate: global mean, 1x1 convolution, hard sigmoid; in place without gradients."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w]"""
        gate = F.relu6(self.fc(x.mean((2, 3), keepdim=True)) + 3.0) / 6.0
        return x * gate if torch.is_grad_enabled() else x.mul_(gate)


class OSABlock(nn.Module):
    """One-shot aggregation: the input and a chain of convolutions, concatenated once and fused."""

    def __init__(
        self, name: str, in_ch: int, conv_ch: int, out_ch: int, spec: VoVNetSpec, identity: bool
    ) -> None:
        super().__init__()
        self.identity = identity
        chain_ch = in_ch
        if spec.depthwise and in_ch != conv_ch:
            self.conv_reduction = _sequential(conv_bn(f"{name}_reduction_0", in_ch, conv_ch, 1))
            chain_ch = conv_ch
        self.layers = nn.ModuleList()
        conv = depthwise_conv_bn if spec.depthwise else conv_bn
        for i in range(spec.layer_per_block):
            self.layers.append(_sequential(conv(f"{name}_{i}", chain_ch, conv_ch)))
            chain_ch = conv_ch
        fused = in_ch + spec.layer_per_block * conv_ch
        self.widths = [in_ch] + [conv_ch] * spec.layer_per_block
        self.concat = _sequential(conv_bn(f"{name}_concat", fused, out_ch, kernel=1))
        self.ese = EffectiveSE(out_ch)

    def forward(self, x: Tensor, workspace: Workspace | None = None) -> Tensor:
        """[B, in_ch, h, w] -> [B, out_ch, h, w]; without gradients in a given workspace."""
        maps = self._chain(x)
        if workspace is None:
            fused = torch.cat(list(maps), dim=1)
        else:
            fused = workspace.take(x, sum(self.widths))
            # Each is in its place before the next one is computed.
            for place, part in zip(fused.split(self.widths, dim=1), maps, strict=True):
                place.copy_(part)
        out = self.ese(self.concat(fused))
        if not self.identity:
            return out
        return out + x if torch.is_grad_enabled() else out.add_(x)

    def _chain(self, x: Tensor) -> Iterator[Tensor]:
        """The input and what each convolution makes of the one before it."""
        yield x
        if hasattr(self, "conv_reduction"):
            x = self.conv_reduction(x)
        for layer in self.layers:
            x = layer(x)
            yield x


class Workspace:
    """Memory for one large tensor at a time; the next one overwrites it."""

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def take(self, like: Tensor, channels: int) -> Tensor:
        """[B, channels, h, w] in the layout of a map ``like`` [B, c, h, w], not initialised."""
        batch, _, height, width = like.shape
        size = batch * channels * height * width
        memory = self._memory
        if memory is None or memory.dtype != like.dtype or memory.numel() < size:
            self._memory = memory = like.new_empty(size)
        if like.is_contiguous(memory_format=torch.channels_last):
            return memory[:size].view(batch, height, width, channels).permute(0, 3, 1, 2)
        return memory[:size].view(batch, channels, height, width)


@MODELS.register_module()
class VoVNet(nn.Module):
    """VoVNetV2 backbone.

    Args:
        spec_name: one of :data:`SPECS`.  input_ch: image channels.
        out_features: which of ``stem`` (1/4), ``stage2`` (1/4) .. ``stage5`` (1/32) to return.
        frozen_stages: -1: none; 0: the stem; k: also the first k stages, without gradient.
        norm_eval: batch norm uses its running statistics while training too.
        checkpoint_stages: which of these are computed again, block by block, in the backward pass.
    """

    def __init__(
        self,
        spec_name: str,
        input_ch: int = 3,
        out_features: Sequence[str] = ("stage2", "stage3", "stage4", "stage5"),
        frozen_stages: Annotated[int, Meta(ge=-1, le=4)] = -1,
        norm_eval: bool = True,
        checkpoint_stages: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if input_ch != 3:
            raise UserError(
                f"VoVNet in the config: input_ch={input_ch}, but images have 3 channels"
            )
        if spec_name not in SPECS:
            raise UserError(f"unknown VoVNet spec_name '{spec_name}': one of {', '.join(SPECS)}")
        unknown = (set(out_features) | set(checkpoint_stages)) - {"stem", *STAGES}
        if unknown:
            raise UserError(f"unknown VoVNet stages {sorted(unknown)}: stem, {', '.join(STAGES)}")
        spec = SPECS[spec_name]
        self.out_features = tuple(out_features)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.checkpoint_stages = frozenset(checkpoint_stages)

        widths = {"stem": spec.stem[2], **dict(zip(STAGES, spec.stage_out_ch, strict=True))}
        self.channels = [width for name, width in widths.items() if name in self.out_features]
        conv = depthwise_conv_bn if spec.depthwise else conv_bn
        self.stem = _sequential(
            conv_bn("stem_1", input_ch, spec.stem[0], stride=2)
            + conv("stem_2", spec.stem[0], spec.stem[1], stride=1)
            + conv("stem_3", spec.stem[1], spec.stem[2], stride=2)
        )
        in_ch = spec.stem[2]
        # Entries of a stage's largest map for each pixel of the image: the stem's is at half size.
        self._entries = {"stem": max(spec.stem) / 4}
        for i, stage in enumerate(STAGES):
            conv_ch, out_ch = spec.stage_conv_ch[i], spec.stage_out_ch[i]
            self._entries[stage] = (max(in_ch, out_ch) + spec.layer_per_block * conv_ch) / 4 ** (
                i + 2
            )
            members: list[tuple[str, nn.Module]] = []
            if i > 0:
                members.append(("Pooling", nn.MaxPool2d(3, stride=2, ceil_mode=True)))
            for block in range(1, spec.block_per_stage[i] + 1):
                name = f"OSA{stage[-1]}_{block}"
                members.append((name, OSABlock(name, in_ch, conv_ch, out_ch, spec, block > 1)))
                in_ch = out_ch
            self.add_module(stage, _sequential(members))
        self._freeze()

    def _freeze(self) -> None:
        frozen = ["stem", *STAGES][: self.frozen_stages + 1]
        for name in frozen:
            stage = getattr(self, name)
            stage.eval()
            stage.requires_grad_(False)

    def train(self, mode: bool = True) -> VoVNet:
        """As usual, but frozen stages (``norm_eval``: all batch norms) stay in eval mode."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images [B, 3, H, W] to feature maps [B, C, h, w], finest first."""
        limit = self._group_bytes(x)
        # On a GPU one concatenation is fewer kernels than a copy of every map.
        apart = torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type != "cpu"
        workspace = None if apart else Workspace()
        outputs = {}
        groups = iter([x])
        for name in ("stem", *STAGES):
            if limit is not None:
                groups = _regroup(groups, max(1, int(limit / self._largest_map(name, x))))
            # Nothing runs before its output is asked for: of a stage whose maps are not returned,
            # only those of one group of the next stage exist at a time.
            groups = map(partial(self._run_stage, name, workspace), groups)
            if name in self.out_features:
                maps = list(groups)
                outputs[name] = _cat(maps)
                groups = iter(maps)
        return list(outputs.values())

    def _group_bytes(self, x: Tensor) -> int | None:
        """How large the maps of images that go through a stage together may be: the same numbers
        in less memory, on a CPU. None: all go together, as where a batch norm reads them all.
        """
        if x.device.type != "cpu":
            return None
        if any(isinstance(m, _BatchNorm) and m.training for m in self.modules()):
            return None
        if torch.compiler.is_exporting():
            return EXPORTED_GROUP_BYTES
        return None if torch.compiler.is_compiling() else GROUP_BYTES

    def _largest_map(self, name: str, x: Tensor) -> float:
        """Bytes that one of the images ``x`` has in a stage, at most in one tensor."""
        half = torch.is_autocast_enabled(x.device.type)
        entry = 2 if half else x.element_size()
        return self._entries[name] * math.prod(x.shape[-2:]) * entry

    def _run_stage(self, name: str, workspace: Workspace | None, x: Tensor) -> Tensor:
        """One stage on some images."""
        recompute = name in self.checkpoint_stages and self.training and torch.is_grad_enabled()
        stage = getattr(self, name)
        if name == "stem":
            parts = [list(stage)]
            # A norm that learns would count the batch twice: the original's stem does not.
            recompute = recompute and self.norm_eval
        else:
            parts = _blocks(stage)
        for part in parts:
            if recompute:
                x = checkpoint(_in_turn, part, x, use_reentrant=False)
            else:
                x = _in_turn(part, x, workspace)
        return x


def _blocks(stage: nn.Sequential) -> list[list[nn.Module]]:
    """The modules of a stage in as many parts as it has blocks, pooling with the first."""
    parts: list[list[nn.Module]] = [[]]
    for module in stage:
        if parts[-1] and isinstance(parts[-1][-1], OSABlock):
            parts.append([])
        parts[-1].append(module)
    return parts


def _in_turn(modules: Iterable[nn.Module], x: Tensor, workspace: Workspace | None = None) -> Tensor:
    for module in modules:
        x = module(x, workspace) if isinstance(module, OSABlock) else module(x)
    return x


def _regroup(groups: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    """The images of ``groups`` [b, C, h, w] in groups of ``size``; smaller ones become one only
    where whole ones fit."""
    waiting: list[Tensor] = []
    for group in groups:
        if len(group) > size:
            yield from group.split(size)
            continue
        waiting.append(group)
        if len(waiting) >= size // len(waiting[0]):
            yield _cat(waiting)
            waiting = []
    if waiting:
        yield _cat(waiting)


def _cat(groups: list[Tensor]) -> Tensor:
    """All images in one tensor."""
    return groups[0] if len(groups) == 1 else torch.cat(groups)


@MODELS.register_module()
class VoVNetCP(VoVNet):
    """:class:`VoVNet` that recomputes stem and blocks in the backward pass (same state dict)."""

    def __init__(
        self, spec_name: str, checkpoint_stages: Sequence[str] = ("stem", *STAGES), **kwargs: Any
    ) -> None:
        super().__init__(spec_name, checkpoint_stages=checkpoint_stages, **kwargs)
