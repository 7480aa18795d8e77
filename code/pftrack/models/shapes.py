"""Whether backbone, neck and head fit together, found before anything is computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pftrack.errors import UserError
from pftrack.models.necks.fpn import FPN

_IMAGES = (2, 3, 256, 256)  # large enough for seven halvings and a batch norm


def check_maps(backbone: nn.Module, neck: nn.Module, head: nn.Module) -> None:
    """Compare the feature maps that arrive with those that neck and head are made for.

    Ours know their channels; others run on tensors without data. A backbone that cannot run so (an
    operator of its own, a fixed image size) is believed.

    Args:
        head: may say what it expects: ``in_channels`` of each map, ``num_levels``, how many.

    Raises:
        UserError: they do not fit.
    """
    channels: list[int] | None
    known = getattr(backbone, "channels", None)
    if isinstance(known, list) and isinstance(neck, FPN):
        channels = neck.channels_of(known)
    else:
        channels = _tried(backbone, neck)
    if channels is None:
        return
    wanted = getattr(head, "in_channels", None)
    if wanted is not None and channels[0] != wanted:
        raise UserError(
            f"pts_bbox_head in the config: in_channels={wanted}, but the neck returns maps of "
            f"{channels[0]} channels"
        )
    levels = getattr(head, "num_levels", None)
    if levels is not None and len(channels) != levels:
        raise UserError(
            f"pts_bbox_head in the config: num_levels={levels}, but the neck returns "
            f"{len(channels)} maps"
        )


def _tried(backbone: nn.Module, neck: nn.Module) -> list[int] | None:
    """Channels of the neck's maps, as they come out; None: that cannot be tried."""
    try:
        stages = _on_meta(backbone, torch.empty(_IMAGES, device="meta"))
        found = [stage.shape[1] for stage in stages]
    except Exception:  # whatever a foreign backbone raises there
        return None
    try:
        return [level.shape[1] for level in _on_meta(neck, stages)]
    except UserError:
        raise
    except Exception as error:  # mm's necks assert, index and multiply
        if "meta" in str(error):
            return None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"img_neck in the config does not take the maps of {found} channels that the backbone "
            f"returns: {reason}"
        ) from error


@torch.no_grad()
def _on_meta(module: nn.Module, inputs: Any) -> list[Tensor]:
    """What a module returns, with weights and buffers that hold no data."""
    state = {
        name: tensor.detach().to("meta")
        for tensors in (module.named_parameters(), module.named_buffers())
        for name, tensor in tensors
    }
    return list(functional_call(module, state, (inputs,)))
