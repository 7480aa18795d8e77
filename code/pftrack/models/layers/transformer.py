"""Post-norm transformer decoder: self-attention, cross-attention, feed-forward, each + LayerNorm.

Used by the detection heads and by past and future reasoning. The classes read the nested mm-style
configuration (``PETRTransformer`` > ``decoder`` > ``transformerlayers`` > ``attn_cfgs``); tensors
are batch first everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pftrack.errors import UserError
from pftrack.models.layers import attention  # noqa: F401  (registers the attention)
from pftrack.registry import MODELS, build_model
from pftrack.values import AtLeastOne, Share

OPERATION_ORDER = ("self_attn", "norm", "cross_attn", "norm", "ffn", "norm")


class FeedForward(nn.Module):
    """x + dropout(Linear(dropout(ReLU(Linear(x))))) with the names ``layers.0.0``, ``layers.1``."""

    def __init__(self, embed_dims: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Sequential(
                nn.Linear(embed_dims, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)
            ),
            nn.Linear(hidden, embed_dims),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]"""
        return x + self.layers(x)


@MODELS.register_module(name=["PETRTransformerDecoderLayer", "DetrTransformerDecoderLayer"])
class TransformerDecoderLayer(nn.Module):
    """Self-attention, LN, cross-attention, LN, feed-forward, LN.

    Args:
        attn_cfgs: configurations of the self- and the cross-attention, or one for both.
        feedforward_channels: hidden width.  ffn_dropout: probability.
        operation_order: stated by configurations; only :data:`OPERATION_ORDER` exists.
        with_cp: recompute the layer in the backward pass instead of storing its activations.
    """

    def __init__(
        self,
        attn_cfgs: dict[str, Any] | Sequence[dict[str, Any]],
        feedforward_channels: AtLeastOne = 2048,
        ffn_dropout: Share = 0.1,
        operation_order: Sequence[str] = OPERATION_ORDER,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        if tuple(operation_order) != OPERATION_ORDER:
            raise UserError(
                f"operation_order={operation_order}: only {OPERATION_ORDER} is supported"
            )
        if isinstance(attn_cfgs, dict):
            attn_cfgs = [attn_cfgs, attn_cfgs]
        embed_dims = attn_cfgs[0]["embed_dims"]
        self.attentions = nn.ModuleList(build_model(cfg) for cfg in attn_cfgs)
        self.ffns = nn.ModuleList([FeedForward(embed_dims, feedforward_channels, ffn_dropout)])
        self.norms = nn.ModuleList(nn.LayerNorm(embed_dims) for _ in range(3))
        self.with_cp = with_cp

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor | None,
        query_padding_mask: Tensor | None = None,
        **memory: Any,
    ) -> Tensor:
        """One decoder layer.

        Args:
            query, query_pos: [B, N, D].
            query_padding_mask: [B, N] bool, True = no other query sees this one.
            memory: what the cross-attention reads, e.g. ``key``, ``value``, ``key_padding_mask``.

        Returns:
            [B, N, D]
        """
        if self.with_cp and self.training and torch.is_grad_enabled():
            return checkpoint(
                self._forward, query, query_pos, query_padding_mask, use_reentrant=False, **memory
            )
        return self._forward(query, query_pos, query_padding_mask, **memory)

    def _forward(
        self,
        query: Tensor,
        query_pos: Tensor | None,
        query_padding_mask: Tensor | None,
        **memory: Any,
    ) -> Tensor:
        query = self.attentions[0](query, query_pos, key_padding_mask=query_padding_mask)
        query = self.norms[0](query)
        query = self.norms[1](self.attentions[1](query, query_pos, **memory))
        return self.norms[2](self.ffns[0](query))


def _width(layer: Any) -> int:
    """D of a decoder layer."""
    return layer.norms[0].normalized_shape[0]


def build_decoder_layers(
    transformerlayers: dict[str, Any] | Sequence[dict[str, Any]], num_layers: int
) -> nn.ModuleList:
    """``num_layers`` layers from one configuration, or from one for each layer."""
    if isinstance(transformerlayers, dict):
        transformerlayers = [transformerlayers] * num_layers
    if len(transformerlayers) != num_layers:
        raise UserError(
            f"transformerlayers has {len(transformerlayers)} entries for num_layers={num_layers}"
        )
    return nn.ModuleList(build_model(cfg) for cfg in transformerlayers)


class DecoderLayers(nn.Module):
    """A stack of decoder layers; how they are called is up to the subclass or the head.

    Args:
        num_layers: L.  transformerlayers: configuration of the layers.
        return_intermediate: stated by configurations; every layer's output is always returned.
    """

    def __init__(
        self,
        num_layers: AtLeastOne,
        transformerlayers: dict[str, Any] | Sequence[dict[str, Any]],
        return_intermediate: bool = True,
    ) -> None:
        super().__init__()
        if not return_intermediate:
            raise UserError("return_intermediate=False is not supported: index the result instead")
        self.layers = build_decoder_layers(transformerlayers, num_layers)


@MODELS.register_module(name="PETRTransformerDecoder")
class TransformerDecoder(DecoderLayers):
    """Decoder layers with a shared LayerNorm after each, which gives that layer's output.

    Args:
        args, kwargs: as for :class:`DecoderLayers`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.post_norm = nn.LayerNorm(_width(self.layers[0]))

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        query_pos: Tensor | None = None,
        key_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        query_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Decode.

        Args:
            query, query_pos: [B, N, D].
            key, key_pos: [B, S, D]; the value is the key without its positions.
            key_padding_mask: [B, S] bool, True = ignore; a row must keep at least one key.
            query_padding_mask: [B, N] bool, True = no other query sees this one.

        Returns:
            [L, B, N, D]
        """
        value = key
        key = key if key_pos is None else key + key_pos
        if torch.is_autocast_enabled(key.device.type):  # once for all layers
            dtype = torch.get_autocast_dtype(key.device.type)
            key, value = key.to(dtype), value.to(dtype)
        memory = {"key": key, "value": value, "key_padding_mask": key_padding_mask}
        outputs = []
        for layer in self.layers:
            query = layer(query, query_pos, query_padding_mask, **memory)
            outputs.append(self.post_norm(query))
        return torch.stack(outputs)


@MODELS.register_module(
    name=["TemporalTransformer", "Detr3DTransformer", "Detr3DTrackingTransformer"]
)
class Transformer(nn.Module):
    """A decoder under the name ``decoder``: heads and reasoning share it.

    Args:
        decoder: configuration of the decoder.
    """

    def __init__(self, decoder: dict[str, Any]) -> None:
        super().__init__()
        self.decoder = build_model(decoder)
        self.init_weights()

    def init_weights(self) -> None:
        """Xavier-uniform for every matrix, as in DETR, except where a part knows better."""
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for module in self.decoder.modules():
            if hasattr(module, "init_weights"):
                module.init_weights()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """See the decoder's ``forward``."""
        return self.decoder(*args, **kwargs)


@MODELS.register_module(name=["PETRTransformer", "PETRTrackingTransformer"])
class PETRTransformer(Transformer):
    """:class:`Transformer` whose feed-forward biases start at zero, as PETR's do."""

    def init_weights(self) -> None:
        """As the base class; linear layers without bias."""
        super().init_weights()
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
