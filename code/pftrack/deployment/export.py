"""A checkpoint as a folder that runs without this project: one graph and its description."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pftrack.config import load_config
from pftrack.deployment.description import (
    DEPLOYMENT_FILE,
    MEMORY,
    NEXT,
    Deployment,
    ImageFacts,
    TensorSpec,
    ThresholdFacts,
    named,
    sha256,
)
from pftrack.deployment.readme import readme
from pftrack.deployment.verification import sample_frame, verify
from pftrack.errors import UserError
from pftrack.models.acceleration import precision_context
from pftrack.nuscenes.facts import CAMERAS, MOST_CAMERAS
from pftrack.tracking.api import load_tracker
from pftrack.tracking.static_tracker import StaticTracker

FORMATS = {"onnx": "tracker.onnx", "torch": "tracker.pt2"}
PRECISIONS = ("fp32", "fp16")
# The exporter's lowest. Above what the operators need: layer norms came with 17.
OPSET = 18
# Bytes of weights above which they go into a file of their own. ONNX Runtime maps that into memory
# instead of reading and keeping it, which saves their size, and a graph has at most 2 GB.
LARGE = 64 << 20
COMPILED = "tracker.aoti.pt2"


def export_tracker(
    config: str | Path,
    checkpoint: str | Path,
    out: str | Path,
    format: str = "onnx",
    slots: int = 300,
    precision: str = "fp32",
    overrides: Sequence[str] = (),
    cameras: int = len(CAMERAS),
) -> Deployment:
    """Export a checkpoint, compare the result with PyTorch, and leave the folder ``out``.

    Args:
        config, checkpoint: files.
        out: an export that is there already is replaced.
        format: a key of :data:`FORMATS`.
        slots: for live tracks.
        precision: of the network's weights and products.
        overrides: ``key=value`` changes to the configuration.
        cameras: images of a frame.

    Returns:
        the description, with the largest differences.

    Raises:
        UserError: from the configuration or the checkpoint; ``out`` holds something else; the
            graph differs from PyTorch by more than rounding.
    """
    if format not in FORMATS or precision not in PRECISIONS:
        raise UserError(
            f"cannot export FORMAT={format} PRECISION={precision}: formats are "
            f"{', '.join(FORMATS)}, precisions {', '.join(PRECISIONS)}"
        )
    if not 1 <= cameras <= MOST_CAMERAS:
        raise UserError(f"cannot export for {cameras} cameras: 1 to {MOST_CAMERAS} are possible")
    out = Path(out)
    _check_place(out)
    tracker = load_tracker(
        load_config(config, overrides),
        checkpoint,
        device="cpu",
        dtype=precision,
        fuse_conv_bn=True,
        static=True,
        slots=slots,
        compile=False,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        graph = folder / FORMATS[format]
        inputs, outputs = _write_graph(tracker, graph, format, precision, cameras)
        description: dict[str, Any] = {
            "format": format,
            "graph": graph.name,
            "graph_sha256": sha256(graph),
            "weights": {path.name: sha256(path) for path in folder.glob(f"{graph.name}.*")},
            "config": named(config),
            "overrides": list(overrides),
            "checkpoint": Path(checkpoint).name,
            "checkpoint_sha256": sha256(Path(checkpoint)),
            "precision": precision,
            "slots": slots,
            "cameras": cameras,
            "calibration": tracker.static_step.calibration,
            "image": ImageFacts.of(tracker.images),
            "image_size": list(tracker.images.padded_size),
            "classes": list(tracker.classes),
            "thresholds": ThresholdFacts.of(tracker.static_step.thresholds),
            "inputs": inputs,
            "outputs": outputs,
            "versions": _versions(format),
        }
        Deployment(**description, differences={}).write(folder)
        differences = verify(folder, tracker, precision, cameras)
        deployment = Deployment(**description, differences=differences)
        deployment.write(folder)
        (folder / "README.md").write_text(readme(deployment), encoding="utf-8")
        folder.chmod(0o777 & ~_umask())
        if out.exists():
            shutil.rmtree(out)
        os.replace(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return deployment


def _write_graph(
    tracker: StaticTracker, path: Path, format: str, precision: str, cameras: int
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Write the step's graph; its inputs and outputs."""
    step = tracker.static_step.requires_grad_(False)
    frame = sample_frame(tracker, cameras=cameras)
    memory = step.empty_memory(frame)
    with torch.no_grad(), precision_context(precision, step.device), _quiet():
        program = torch.export.export(step, (frame, memory), strict=False)
        if precision != "fp32":
            # Autocast's casts become a part of it.
            program = program.run_decompositions({torch.ops.aten.layer_norm.default: _layer_norm})
        report, _ = step(frame, memory)
    inputs = {**frame, **{MEMORY + name: value for name, value in memory.items()}}
    outputs = {**report, **{NEXT + name: value for name, value in memory.items()}}
    if format == "onnx":
        _write_onnx(program, path, list(inputs), list(outputs))
    else:
        _write_torch(program, path)
    return _specs(inputs), _specs(outputs)


def _layer_norm(
    x: Tensor, shape: list[int], weight: Tensor, bias: Tensor, eps: float = 1e-5, _: bool = True
) -> Tensor:
    """In the parameters' float32, which PyTorch mixes with half precision and ONNX does not."""
    normal = torch.ops.aten.native_layer_norm(x.float(), shape, weight, bias, eps)[0]
    return normal.to(x.dtype)


def _write_onnx(program: Any, path: Path, inputs: list[str], outputs: list[str]) -> None:
    """One file, and weights above :data:`LARGE` in another one beside it."""
    import onnx

    with _quiet():
        exported = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False)
    assert exported is not None
    graph = exported.model.graph
    for values, names in ((graph.inputs, inputs), (graph.outputs, outputs)):
        for value, name in zip(values, names, strict=True):
            value.name = name
    size = sum(value.nbytes for value in program.state_dict.values())
    exported.save(str(path), external_data=size > LARGE)
    onnx.checker.check_model(str(path), full_check=True)


def _write_torch(program: Any, path: Path) -> None:
    """The program, and where a compiler is there, its compiled package."""
    torch.export.save(program, path)
    if shutil.which(os.environ.get("CXX", "g++")) is not None:
        with _quiet():
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(path.with_name(COMPILED))
            )


def _specs(tensors: dict[str, Tensor]) -> list[TensorSpec]:
    return [
        TensorSpec(name, list(value.shape), str(value.dtype).removeprefix("torch."))
        for name, value in tensors.items()
    ]


def _versions(format: str) -> dict[str, str]:
    libraries = ["torch", *(["onnx", "onnxscript", "onnxruntime"] if format == "onnx" else [])]
    found = {name: version(name) for name in libraries}
    return {"python": platform.python_version(), **found, "opset": str(OPSET)}


def _check_place(out: Path) -> None:
    """Only an earlier export is replaced.

    Raises:
        UserError: there is something else.
    """
    ours = out.is_dir() and (not any(out.iterdir()) or (out / DEPLOYMENT_FILE).is_file())
    if out.exists() and not ours:
        raise UserError(f"{out} holds something else than an export: give another OUT")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' notes about themselves."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
