"""``deployment.json``: everything that running an exported tracker takes beside its graph."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pftrack.datasets.augmentation import ImageAugmentation
from pftrack.datasets.image_settings import ImageSettings
from pftrack.errors import UserError
from pftrack.files import write_json
from pftrack.paths import CODE

DEPLOYMENT_FILE = "deployment.json"
# The names of a memory's tensors where they enter a graph, and where they leave it.
MEMORY, NEXT = "memory_", "next_"
_HINT = "'make export' writes such folders"


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph: its name, shape and numpy type."""

    name: str
    shape: list[int]
    dtype: str


@dataclass(frozen=True)
class Deployment:
    """One exported tracker.

    Attributes:
        format: ``onnx`` or ``torch``.  graph: name of its file.  graph_sha256: of that file.
        config, overrides, checkpoint: what it was made from.  checkpoint_sha256: of the checkpoint.
        precision: fp32 or fp16.
        slots: for live tracks.  cameras: images of a frame.
        calibration: ``lidar2img`` or ``img2lidar``, which matrices the graph reads.
        image: resize, crop, pixel constants and padding, see :class:`ImageSettings`.
        image_size: (H, W) of the graph's images.
        classes: names of the labels.
        thresholds: what is built into the graph, for reading only.
        inputs, outputs: of the graph, in its order.
        differences: largest ones from PyTorch, as measured after exporting.
        versions: of what exported it.
    """

    format: str
    graph: str
    graph_sha256: str
    config: str
    overrides: list[str]
    checkpoint: str
    checkpoint_sha256: str
    precision: str
    slots: int
    cameras: int
    calibration: str
    image: dict[str, Any]
    image_size: list[int]
    classes: list[str]
    thresholds: dict[str, Any]
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    differences: dict[str, float]
    versions: dict[str, str]

    @property
    def images(self) -> ImageSettings:
        """How camera images become the graph's."""
        image = self.image
        return ImageSettings(
            augmentation=ImageAugmentation(
                resize=image["resize"],
                resize_dims=tuple(image["resize_dims"]),
                crop=tuple(image["crop"]),
                source_size=tuple(image["source_size"]),
            ),
            mean=tuple(image["mean"]),
            std=tuple(image["std"]),
            size_divisor=image["size_divisor"],
        )

    @property
    def memory(self) -> list[TensorSpec]:
        """The inputs that are another frame's outputs."""
        return [spec for spec in self.inputs if spec.name.startswith(MEMORY)]

    def write(self, folder: Path) -> None:
        """As ``deployment.json``."""
        write_json(folder / DEPLOYMENT_FILE, asdict(self))


def image_facts(images: ImageSettings) -> dict[str, Any]:
    """The settings of test images, which are neither mirrored nor turned, as plain values."""
    augmentation = images.augmentation
    return {
        "resize": augmentation.resize,
        "resize_dims": list(augmentation.resize_dims),
        "crop": list(augmentation.crop),
        "source_size": list(augmentation.source_size),
        "mean": list(images.mean),
        "std": list(images.std),
        "size_divisor": images.size_divisor,
    }


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
    names = {field.name for field in fields(Deployment)}
    if not isinstance(content, dict) or set(content) != names:
        odd = sorted(names.symmetric_difference(content if isinstance(content, dict) else ()))
        raise UserError(f"{path} is of another version, see '{odd[0]}': export the checkpoint anew")
    try:
        for kind in ("inputs", "outputs"):
            content[kind] = [TensorSpec(**spec) for spec in content[kind]]
        deployment = Deployment(**content)
    except TypeError as error:
        raise UserError(f"{path} is damaged ({error}): export the checkpoint anew") from None
    graph = folder / deployment.graph
    if not graph.is_file():
        raise UserError(f"no {graph}, which {DEPLOYMENT_FILE} names: {_HINT}")
    if sha256(graph) != deployment.graph_sha256:
        raise UserError(
            f"{graph} is not the graph that its {DEPLOYMENT_FILE} describes: it is damaged, or one "
            "of the two is from another export; export the checkpoint anew"
        )
    return deployment


def named(config: str | Path) -> str:
    """A configuration's file as a description names it: one of ours relative to ``code/``."""
    path = Path(config).resolve()
    return str(path.relative_to(CODE)) if path.is_relative_to(CODE) else str(config)


def sha256(path: Path) -> str:
    """Hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
