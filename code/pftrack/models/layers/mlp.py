"""The small networks on every query."""

from __future__ import annotations

from torch import Tensor, nn

from pftrack.models.acceleration import full_precision


class FullPrecisionSequential(nn.Sequential):
    """A sequence that computes in its weights' precision whatever autocast says: what goes in or
    comes out are positions in a range of 100 m, scores and sizes."""

    half_precision = False

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., out_features]"""
        with full_precision(x):
            return super().forward(x.to(next(self.parameters()).dtype))


def mlp(
    embed_dims: int, out_features: int, num_fcs: int, norm: bool = True
) -> FullPrecisionSequential:
    """(Linear, LayerNorm, ReLU) x ``num_fcs``, Linear; without ``norm`` (Linear, ReLU) x ..."""
    layers: list[nn.Module] = []
    for _ in range(num_fcs):
        layers.append(nn.Linear(embed_dims, embed_dims))
        if norm:
            layers.append(nn.LayerNorm(embed_dims))
        layers.append(nn.ReLU(inplace=True))
    return FullPrecisionSequential(*layers, nn.Linear(embed_dims, out_features))
