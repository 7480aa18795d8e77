"""The network: image branch, detection heads, tracker with past and future reasoning.

Importing this package registers every component, so that configurations can name them.
"""

from projects.tracking_plugin.models import box_coder as _box_coder  # noqa: F401
from projects.tracking_plugin.models.backbones import vovnet as _vovnet  # noqa: F401
from projects.tracking_plugin.models.dense_heads import detr3d_head as _detr3d_head  # noqa: F401
from projects.tracking_plugin.models.dense_heads import petr_head as _petr_head  # noqa: F401
from projects.tracking_plugin.models.layers import attention as _attention  # noqa: F401
from projects.tracking_plugin.models.layers import detr3d_attention as _detr3d  # noqa: F401
from projects.tracking_plugin.models.layers import positional_encoding as _positions  # noqa: F401
from projects.tracking_plugin.models.layers import transformer as _transformer  # noqa: F401
from projects.tracking_plugin.models.necks import cp_fpn as _cp_fpn  # noqa: F401
