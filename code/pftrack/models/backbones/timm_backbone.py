"""Backbones of timm, the library of image models, behind one class.

timm is an optional group of the lock (docker/timm.in), so it is imported here only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pftrack.errors import UserError
from pftrack.extras import require
from pftrack.registry import MODELS


@MODELS.register_module()
class TimmBackbone(nn.Module):
    """The feature maps of a model of timm.

    Its weights are random until ``init_cfg`` names a file of them: of the whole model or of the
    extractor, as timm saves either (checkpoints/layouts.py).

    Args:
        model_name: what timm calls it, ``convnext_tiny``.
        out_indices: which of its maps, in timm's count; finest first.
        frozen: beginnings of the names of weights that stay as they are (``conv1``, ``layer1``).
        norm_eval: batch norms use their running statistics while training too.
        options: more arguments of ``timm.create_model``, as ``img_size`` of a Swin transformer.

    Raises:
        UserError: timm is missing, or has no such model or maps; ``frozen`` names nothing.
    """

    def __init__(
        self,
        model_name: str,
        out_indices: Sequence[int] = (3, 4),
        frozen: Sequence[str] = (),
        norm_eval: bool = True,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        timm = require(
            *("timm", "timm", "TimmBackbone"), "; a ResNet goes without (type='mmdet.ResNet')"
        )
        try:
            self.features = timm.create_model(
                model_name,
                features_only=True,
                out_indices=tuple(out_indices),
                pretrained=False,
                **(options or {}),
            )
        except (RuntimeError, TypeError, ValueError, AssertionError, IndexError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"TimmBackbone in the config: timm has no '{model_name}' with the maps "
                f"{tuple(out_indices)} ({type(error).__name__}: {reason})"
            ) from error
        self.channels: list[int] = self.features.feature_info.channels()
        self.norm_eval = norm_eval
        self.frozen = tuple(frozen)
        for start in self.frozen:
            found = [p for n, p in self.features.named_parameters() if _begins(n, start)]
            if not found:
                children = ", ".join(name for name, _ in self.features.named_children())
                raise UserError(
                    f"TimmBackbone in the config: frozen='{start}' names no weight of "
                    f"{model_name}, whose parts are {children}"
                )
            for parameter in found:
                parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> TimmBackbone:
        """As usual, but what is frozen (``norm_eval``: every batch norm) stays in eval mode."""
        super().train(mode)
        for name, module in self.features.named_modules():
            frozen = any(_begins(name, start) for start in self.frozen)
            if frozen or (self.norm_eval and isinstance(module, _BatchNorm)):
                module.eval()
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images [B, 3, H, W] to feature maps [B, C, h, w], finest first."""
        maps: list[Tensor] = self.features(x)
        return [
            # Some models keep their channels last.
            m.movedim(-1, 1) if m.shape[1] != c and m.shape[-1] == c else m
            for m, c in zip(maps, self.channels, strict=True)
        ]


def _begins(name: str, start: str) -> bool:
    """Whether a dotted name is ``start`` or lies in it."""
    return name == start or name.startswith(f"{start}.")
