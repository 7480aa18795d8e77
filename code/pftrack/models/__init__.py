"""The network: image branch, detection heads, tracker with past and future reasoning.

Importing this package registers every component, so that configurations can name them.
"""

from importlib import import_module as _import_module

for _module in (
    "box_coder",
    "backbones.vovnet",
    "backbones.timm_backbone",
    "necks.fpn",
    "layers.attention",
    "layers.detr3d_attention",
    "layers.positional_encoding",
    "layers.transformer",
    "dense_heads.petr_head",
    "dense_heads.petrv2_head",
    "dense_heads.detr3d_head",
    "losses.elementary",
    "losses.tracking_loss",
    "matching.match_costs",
    "matching.hungarian_assigner_3d",
    "trackers.tracker",
):
    _import_module(f"{__name__}.{_module}")
