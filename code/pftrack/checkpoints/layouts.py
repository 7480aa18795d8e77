"""What programs call a backbone's weights: the layouts that loading recognises, and their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Layout:
    """Names of a backbone's weights in somebody's checkpoints.

    Attributes:
        whose: programs.
        prefix: in front of every weight of the backbone; other weights are not of it.
        renamed: (pattern, replacement), applied in order to what follows the prefix.
    """

    whose: str
    prefix: str
    renamed: tuple[tuple[str, str], ...] = ()

    def names(self, keys: Mapping[str, Tensor]) -> dict[str, str]:
        """Key -> name within the backbone, of those that have one."""
        found = {}
        for key in keys:
            if key.startswith(self.prefix):
                name = key.removeprefix(self.prefix)
                for pattern, replacement in self.renamed:
                    name = re.sub(pattern, replacement, name)
                found[key] = name
        return found


# detectron2's ResNet, in the words of torchvision's, which timm's and mmdet's have as well.
_DETECTRON2 = (
    (r"^stem\.conv1\.norm\.", "bn1."),
    (r"^stem\.conv1\.", "conv1."),
    *((rf"^res{stage}\.", f"layer{stage - 1}.") for stage in range(2, 6)),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
)
# timm's ResNets with three convolutions for a stem (resnet50d), in the words of mmdet's ResNetV1d.
_DEEP_STEM = ((r"^conv1\.(\d)\.", r"stem.\1."), (r"^bn1\.", "stem.7."))
# timm's feature extractors of other models write stages_0 for stages.0, or put a model around all.
_FLAT = ((r"^(\w+)\.(\d+)\.", r"\1_\2."),)
_WRAPPED = ((r"^", "model."),)

LAYOUTS = (
    Layout("torchvision and timm", ""),
    Layout("PETR, StreamPETR, DETR3D and PF-Track", "img_backbone."),
    Layout("DETR and Deformable DETR", "backbone.0.body."),
    Layout("DD3D", "backbone.bottom_up."),
    Layout("detectron2", "backbone.bottom_up.", _DETECTRON2),
    Layout("mmdetection and FCOS3D", "backbone."),
    Layout("timm, a stem of three convolutions", "", _DEEP_STEM),
    Layout("timm, whole models", "", _FLAT),
    Layout("timm, whole models", "", _WRAPPED),
)
# Where a backbone stands in a model, or in itself.
PLACES = ("", "features.", "img_backbone.", "img_backbone.features.")


def in_own_names(
    weights: Mapping[str, Tensor], expected: Shapes
) -> tuple[dict[str, Tensor], list[str]]:
    """Weights by the names of a model, where its backbone's have others in the file.

    The layout that fits most entries is taken; the file's own names, where none fits more.

    Args:
        weights: of a checkpoint.  expected: the model's entries.

    Returns:
        the weights, those that the model lacks under their own names; a remark where names were
        changed.
    """
    best, names, whose = _fitting({key: key for key in weights}, weights, expected), {}, ""
    places = [place for place in PLACES if any(key.startswith(place) for key in expected)]
    if best < len(expected):
        for layout in LAYOUTS:
            within = layout.names(weights)
            for place in places:
                found = {key: place + name for key, name in within.items()}
                fitting = _fitting(found, weights, expected)
                if fitting > best:
                    best, names, whose = fitting, found, layout.whose
    if not names:
        return dict(weights), []
    names = {key: name for key, name in names.items() if name in expected}
    first = next(iter(names))
    remark = f"names are those of {whose}: {first} is {names[first]} here"
    return {names.get(key, key): value for key, value in weights.items()}, [remark]


def _fitting(names: Mapping[str, str], weights: Mapping[str, Tensor], expected: Shapes) -> int:
    """How many entries fit the model under these names."""
    return sum(expected.get(name) == tuple(weights[key].shape) for key, name in names.items())
