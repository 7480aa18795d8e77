"""``deployment.json``: everything that running an exported tracker takes beside its graph."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from pftrack.datasets.augmentation import ImageAugmentation
from pftrack.datasets.image_settings import ImageSettings
from pftrack.errors import UserError
from pftrack.files import write_json
from pftrack.paths import CODE

if TYPE_CHECKING:
    from pftrack.models.trackers.life_cycle import Thresholds

DEPLOYMENT_FILE = "deployment.json"
# The names of a memory's tensors where they enter a graph, and where they leave it.
MEMORY, NEXT = "memory_", "next_"
_HINT = "'make export' writes such folders"
_LARGEST = 2**31  # of a whole number here, and of the values in a tensor
_DTYPES = ("float32", "float16", "int64", "int32", "uint8", "bool")
_LARGEST_NUMBER = 1e300  # with a fraction
_LARGEST_SIDE = 32768  # of an image


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph: its name, shape and numpy type."""

    name: str
    shape: list[int]
    dtype: str


@dataclass(frozen=True)
class ImageFacts:
    """The settings of test images, see :class:`ImageSettings`; they are not mirrored or turned."""

    resize: float
    resize_dims: tuple[int, int]
    crop: tuple[int, int, int, int]
    source_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size_divisor: int

    @classmethod
    def of(cls, images: ImageSettings) -> ImageFacts:
        """What ``images`` says, as plain values."""
        augmentation = images.augmentation
        return cls(
            resize=augmentation.resize,
            resize_dims=augmentation.resize_dims,
            crop=augmentation.crop,
            source_size=augmentation.source_size,
            mean=images.mean,
            std=images.std,
            size_divisor=images.size_divisor,
        )

    @property
    def settings(self) -> ImageSettings:
        """How camera images become the graph's."""
        return ImageSettings(
            augmentation=ImageAugmentation(
                resize=self.resize,
                resize_dims=self.resize_dims,
                crop=self.crop,
                source_size=self.source_size,
            ),
            mean=self.mean,
            std=self.std,
            size_divisor=self.size_divisor,
        )


@dataclass(frozen=True)
class ThresholdFacts:
    """:class:`pftrack.models.trackers.life_cycle.Thresholds` as plain values, without PyTorch."""

    output_threshold: float
    score_threshold: float
    record_threshold: float
    max_age_since_update: int
    tracked_labels: list[int]

    @classmethod
    def of(cls, thresholds: Thresholds) -> ThresholdFacts:
        """What ``thresholds`` says, as plain values."""
        labels = list(thresholds.tracked_labels)
        return cls(**{**asdict(thresholds), "tracked_labels": labels})


@dataclass(frozen=True)
class Deployment:
    """One exported tracker.

    Attributes:
        format: ``onnx`` or ``torch``.  graph: name of its file.  graph_sha256: of that file.
        weights: hashes of the files beside the graph that belong to it, by name.
        config, overrides, checkpoint: what it was made from.  checkpoint_sha256: of the checkpoint.
        precision: fp32 or fp16.
        slots: for live tracks.  cameras: images of a frame.
        calibration: ``lidar2img`` or ``img2lidar``, which matrices the graph reads.
        image: resize, crop, pixel constants and padding.
        image_size: (H, W) of the graph's images.
        classes: names of the labels.
        thresholds: what is built into the graph, for reading only.
        inputs, outputs: of the graph, in its order.
        differences: largest ones from PyTorch, as measured after exporting.
        versions: of what exported it.
    """

    format: Literal["onnx", "torch"]
    graph: str
    graph_sha256: str
    weights: dict[str, str]
    config: str
    overrides: list[str]
    checkpoint: str
    checkpoint_sha256: str
    precision: Literal["fp32", "fp16"]
    slots: int
    cameras: int
    calibration: Literal["lidar2img", "img2lidar"]
    image: ImageFacts
    image_size: list[int]
    classes: list[str]
    thresholds: ThresholdFacts
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    differences: dict[str, float]
    versions: dict[str, str]

    @property
    def memory(self) -> list[TensorSpec]:
        """The inputs that are another frame's outputs."""
        return [spec for spec in self.inputs if spec.name.startswith(MEMORY)]

    def write(self, folder: Path) -> None:
        """As ``deployment.json``."""
        write_json(folder / DEPLOYMENT_FILE, asdict(self))


def read_deployment(folder: str | Path) -> Deployment:
    """The description of an exported tracker, whose graph is there and its own.

    Raises:
        UserError: no such folder, a file that is missing or damaged, the graph of another export.
    """
    folder = Path(folder)
    path = folder / DEPLOYMENT_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no {path}: {_HINT}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): {_HINT}") from None
    try:
        deployment: Deployment = _typed(content, Deployment, "")
        _check(deployment)
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): export the checkpoint anew") from None
    for name, expected in {deployment.graph: deployment.graph_sha256, **deployment.weights}.items():
        file = folder / name
        if not file.is_file():
            raise UserError(f"no {file}, which {DEPLOYMENT_FILE} names: {_HINT}")
        if sha256(file) != expected:
            raise UserError(
                f"{file} is not the one that its {DEPLOYMENT_FILE} describes: it is damaged, or "
                "one of the two is from another export; export the checkpoint anew"
            )
    return deployment


def _typed(value: Any, kind: Any, place: str) -> Any:
    """``value`` as the type ``kind`` declares, or ValueError with its place.

    By hand, because the computer of a vehicle need not have msgspec.
    """
    if kind is Any:
        return value
    if is_dataclass(kind):
        names = {field.name for field in fields(kind)}
        odd = sorted(names.symmetric_difference(value)) if isinstance(value, dict) else ["{"]
        if odd:
            raise ValueError(f"of another version, see '{place}{odd[0]}'")
        hints = get_type_hints(kind)
        build: Any = kind
        return build(**{n: _typed(value[n], hints[n], f"{place}{n}.") for n in names})
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin is Literal:
        right = value in inner and isinstance(value, str)
    elif origin is list:
        right = isinstance(value, list)
    elif origin is tuple:
        right = isinstance(value, list) and len(value) == len(inner)
    elif origin is dict:
        right = isinstance(value, dict)
    elif origin is float:
        right = type(value) in (int, float) and abs(value) < _LARGEST_NUMBER
    elif origin is int:
        right = type(value) is int and abs(value) < _LARGEST
    else:
        right = isinstance(value, origin)
    if not right:
        raise ValueError(f"{place[:-1]} is {str(value)[:60]!r}")
    if origin is list:
        return [_typed(item, inner[0], f"{place}{i}.") for i, item in enumerate(value)]
    if origin is tuple:
        return tuple(
            _typed(v, k, f"{place}{i}.") for i, (v, k) in enumerate(zip(value, inner, strict=True))
        )
    if origin is dict:
        return {name: _typed(item, inner[1], f"{place}{name}.") for name, item in value.items()}
    return value


def _check(deployment: Deployment) -> None:
    """ValueError where values of the right types do not go together."""
    image = deployment.image
    thresholds = deployment.thresholds
    width, height = image.source_size
    sides = [*image.resize_dims, *image.source_size, *deployment.image_size]
    faults = {
        "graph": Path(deployment.graph).name != deployment.graph,
        "weights": any(Path(name).name != name for name in deployment.weights),
        "slots": deployment.slots < 1,
        "cameras": not 0 < deployment.cameras <= 64,
        "classes": not 0 < len(deployment.classes) == len(set(deployment.classes))
        or not all(deployment.classes),
        "thresholds": not all(
            -1 <= value <= 1
            for value in (
                thresholds.output_threshold,
                thresholds.score_threshold,
                thresholds.record_threshold,
            )
        ),
        "max_age_since_update": thresholds.max_age_since_update < 0,
        "tracked_labels": not set(thresholds.tracked_labels) <= set(range(len(deployment.classes))),
        "differences": min(deployment.differences.values(), default=0.0) < 0,
        "checkpoint_sha256": re.fullmatch("[0-9a-f]{64}", deployment.checkpoint_sha256) is None,
        "size of images": not all(0 < side <= _LARGEST_SIDE for side in sides),
        "image.mean": not all(0 <= value <= 255 for value in image.mean),
        "image.std": not all(0 < value <= 255 for value in image.std),
        "image.resize": not 0 < image.resize <= _LARGEST_SIDE
        or (int(width * image.resize), int(height * image.resize)) != image.resize_dims,
        "image.size_divisor": image.size_divisor < 1,
    }
    for tensor in deployment.inputs + deployment.outputs:
        size = math.prod(tensor.shape)
        faults[f"dtype of {tensor.name}"] = tensor.dtype not in _DTYPES
        faults[f"shape of {tensor.name}"] = min(tensor.shape, default=1) < 1 or size > _LARGEST
    for fault, wrong in faults.items():
        if wrong:
            raise ValueError(f"{fault} is out of range")
    for tensor in deployment.memory:
        if tensor.name == f"{MEMORY}logits" and tensor.shape != [
            deployment.slots,
            len(deployment.classes),
        ]:
            raise ValueError("slots and classes are not those of the graph's memory")
    if list(image.settings.padded_size) != deployment.image_size:
        raise ValueError("image_size is not what image describes")


def named(config: str | Path) -> str:
    """A configuration's file as a description names it: one of ours relative to ``code/``."""
    path = Path(config).resolve()
    return str(path.relative_to(CODE)) if path.is_relative_to(CODE) else str(config)


def sha256(path: Path) -> str:
    """Hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
