"""The small networks on every query."""

from __future__ import annotations

from torch import nn


def mlp(embed_dims: int, out_features: int, num_fcs: int, norm: bool = True) -> nn.Sequential:
    """(Linear, LayerNorm, ReLU) x ``num_fcs``, Linear; without ``norm`` (Linear, ReLU) x ..."""
    layers: list[nn.Module] = []
    for _ in range(num_fcs):
        layers.append(nn.Linear(embed_dims, embed_dims))
        if norm:
            layers.append(nn.LayerNorm(embed_dims))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, nn.Linear(embed_dims, out_features))
