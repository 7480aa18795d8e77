"""A model with a backbone and a head, of a few weights."""

from __future__ import annotations

from torch import nn


def small_model() -> nn.Module:
    return nn.ModuleDict(
        {
            "img_backbone": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
            "head": nn.Linear(4, 2),
        }
    )
