"""PETR's feature pyramid: only the finest level gets an output convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from projects.tracking_plugin.errors import UserError
from projects.tracking_plugin.registry import MODELS


@MODELS.register_module()
class CPFPN(nn.Module):
    """Lateral 1x1 convolutions, nearest upsampling sums, one 3x3 convolution on the finest level.

    The heads read the coarser levels as plain laterals, so their output convolutions are left out.

    Args:
        in_channels: channels of the backbone's maps, finest first.  out_channels: of every output.
        num_outs: must equal the number of levels used.  start_level: first backbone map used.
        add_extra_convs: stated by configurations; without extra levels it has no effect.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        add_extra_convs: bool | str = False,
    ) -> None:
        super().__init__()
        used = list(in_channels)[start_level:]
        if num_outs != len(used):
            raise UserError(f"CPFPN makes no extra levels: num_outs={num_outs}, levels={len(used)}")
        self.start_level = start_level
        self.lateral_convs = nn.ModuleList(
            ConvModule(channels, out_channels, 1, act_cfg=None) for channels in used
        )
        self.fpn_convs = nn.ModuleList(
            [ConvModule(out_channels, out_channels, 3, padding=1, act_cfg=None)]
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Maps [B, C_i, h_i, w_i], finest first, to maps [B, out_channels, h_i, w_i]."""
        laterals = [
            conv(x) for conv, x in zip(self.lateral_convs, inputs[self.start_level :], strict=True)
        ]
        for i in range(len(laterals) - 1, 0, -1):
            size = laterals[i - 1].shape[2:]
            laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], size=size)
        return [self.fpn_convs[0](laterals[0]), *laterals[1:]]
