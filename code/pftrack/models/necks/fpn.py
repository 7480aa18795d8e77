"""Feature pyramids (Lin et al., 2017): the ordinary one, and PETR's with one output convolution."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, cast

import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from pftrack.errors import UserError
from pftrack.registry import MODELS
from pftrack.values import AtLeastOne


@MODELS.register_module()
class FPN(nn.Module):
    """Lateral 1x1 convolutions, nearest upsampling sums, a 3x3 convolution on every level.

    For extra levels or norms name ``mmdet.FPN``, which has the same state dict.

    Args:
        in_channels: channels of the backbone's maps, finest first.  out_channels: of every output.
        num_outs: must equal the number of levels used.  start_level: first backbone map used.
        add_extra_convs, relu_before_extra_convs: stated by configurations; there are no extra
            levels, so they have no effect.
    """

    def __init__(
        self,
        in_channels: Sequence[AtLeastOne],
        out_channels: AtLeastOne,
        num_outs: AtLeastOne,
        start_level: Annotated[int, Meta(ge=0)] = 0,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        used = list(in_channels)[start_level:]
        if num_outs != len(used):
            raise UserError(f"{name} adds no levels: num_outs={num_outs}, inputs={len(used)}")
        self.start_level, self.in_channels, self.out_channels = start_level, used, out_channels
        self.lateral_convs = nn.ModuleList(
            _convolution(channels, out_channels, 1) for channels in used
        )
        self.fpn_convs = nn.ModuleList(
            _convolution(out_channels, out_channels, 3)
            for _ in range(self.num_output_convs(len(used)))
        )

    @staticmethod
    def num_output_convs(levels: int) -> int:
        """How many levels, from the finest on, get an output convolution."""
        return levels

    def channels_of(self, channels: list[int]) -> list[int]:
        """Channels of the maps that it makes of maps of ``channels``.

        Raises:
            UserError: it is not made for these.
        """
        if channels[self.start_level :] != self.in_channels:
            raise UserError(
                f"{type(self).__name__} in the config: the backbone returns maps of {channels} "
                f"channels, in_channels from level {self.start_level} on is {self.in_channels}"
            )
        return [self.out_channels] * len(self.in_channels)

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Maps [B, C_i, h_i, w_i], finest first, to maps [B, out_channels, h_i, w_i]."""
        self.channels_of([x.shape[1] for x in inputs])
        maps = inputs[self.start_level :]
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, maps, strict=True)]
        for i in range(len(laterals) - 1, 0, -1):
            size = laterals[i - 1].shape[2:]
            laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], size=size)
        convs = len(self.fpn_convs)
        outputs = [conv(x) for conv, x in zip(self.fpn_convs, laterals[:convs], strict=True)]
        return outputs + laterals[convs:]


@MODELS.register_module()
class CPFPN(FPN):
    """:class:`FPN` with an output convolution on the finest level only: the rest are laterals."""

    @staticmethod
    def num_output_convs(levels: int) -> int:
        """One."""
        return 1


def _convolution(in_channels: int, out_channels: int, size: int) -> nn.Module:
    """A convolution that keeps the map's size; its weights are called ``conv.*``, as published."""
    conv = nn.Conv2d(in_channels, out_channels, size, padding=size // 2)
    nn.init.xavier_uniform_(conv.weight)
    nn.init.zeros_(cast(Tensor, conv.bias))
    return nn.Sequential(OrderedDict(conv=conv))
