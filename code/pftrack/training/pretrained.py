"""Weights that a configuration names for a part of the model: ``init_cfg`` of the type Pretrained,
``pretrained``; a local file, an address, or a published name (``torchvision://resnet50``)."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pftrack.checkpoints.reading import (
    find_checkpoint,
    load_checkpoint_file,
    load_into,
)
from pftrack.checkpoints.weights import extract_state_dict
from pftrack.errors import UserError
from pftrack.registry import is_pretrained


def initialize(model: nn.Module, log: Callable[[str], None]) -> None:
    """Give every part the initial weights that the configuration asks for.

    What mmdet or mmdet3d built is initialised as their trainers do, by ``init_cfg`` or their
    default; then come the files that parts of any origin name, each with its three lines.

    Raises:
        UserError: a file cannot be had or read, or fits nothing of its part.
    """
    wanted: list[tuple[str, nn.Module, Any]] = []
    for name, module in model.named_modules():
        kept = getattr(module, "init_cfg", None)
        settings = kept if isinstance(kept, list) else [kept]
        files = [entry for entry in settings if is_pretrained(entry)]
        wanted += [(name or "model", module, entry) for entry in files]
        if files:  # theirs would read the file without its report, and care
            rest = [entry for entry in settings if entry not in files]
            module.init_cfg = rest or None
    _initialize_theirs(model)
    for name, module, entry in wanted:
        where = f"init_cfg of {name} in the config"
        try:
            path = pretrained_file(str(entry.get("checkpoint")))
            content = load_checkpoint_file(path)
            weights: dict[str, Any] = dict(extract_state_dict(content, str(path)))
            prefix = entry.get("prefix")
            if prefix:
                start = f"{str(prefix).rstrip('.')}."
                weights = {k[len(start) :]: v for k, v in weights.items() if k.startswith(start)}
            if (channels := entry.get("channels", "bgr")) not in ("bgr", "rgb"):
                raise UserError(f"channels={channels!r}: 'bgr' or 'rgb'")
            if channels == "rgb":
                weights = _for_bgr(weights)
            report = load_into(module, {"state_dict": weights}, source=str(path))
        except UserError as error:
            raise UserError(f"{where}: {error}; give a file of its weights") from None
        for line in report.summary().splitlines():
            log(f"{name}: {line}")


def _for_bgr(weights: dict[str, Any]) -> dict[str, Any]:
    """Weights trained on RGB images, for the BGR images of this project: the same network.

    Raises:
        UserError: no weight reads images of three channels.
    """
    first = next((k for k, v in weights.items() if v.dim() == 4 and v.shape[1] == 3), None)
    if first is None:
        raise UserError("channels='rgb', but none of its weights reads images of three channels")
    return {**weights, first: weights[first].flip(1)}


def pretrained_file(name: str) -> Path:
    """The file of a name in ``init_cfg``, downloaded where it is published.

    Raises:
        UserError: there is no such file or name, or it cannot be downloaded.
    """
    scheme, separator, rest = name.partition("://")
    if not separator:
        return find_checkpoint(name)
    if scheme in ("http", "https"):
        url = name
    else:
        from mmcv.runner import checkpoint as mmcv_checkpoint

        tables: dict[str, Callable[[], dict[str, str]]] = {
            "torchvision": mmcv_checkpoint.get_torchvision_models,
            "modelzoo": mmcv_checkpoint.get_torchvision_models,
            "open-mmlab": mmcv_checkpoint.get_external_models,
            "openmmlab": mmcv_checkpoint.get_external_models,
            "mmcls": mmcv_checkpoint.get_mmcls_models,
        }
        if scheme not in tables:
            raise UserError(f"'{name}': no way to '{scheme}://', use {', '.join(tables)} or a file")
        models = tables[scheme]()
        if rest not in models:
            raise UserError(f"'{name}': {scheme} has published nothing of that name")
        url = models[rest]
    file = Path(torch.hub.get_dir(), "checkpoints", os.path.basename(url.partition("?")[0]))
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), progress=False)
        except (OSError, RuntimeError) as error:
            raise UserError(f"'{name}' cannot be downloaded from {url}: {error}") from error
    return file


def _initialize_theirs(module: nn.Module) -> None:
    """Parts that mmcv's ``BaseModule`` made, from the top of each down."""
    runner = sys.modules.get("mmcv.runner")
    if runner is None:  # then nothing of theirs was built
        return
    for child in module.children():
        if not isinstance(child, runner.BaseModule):
            _initialize_theirs(child)
            continue
        with _quiet():  # mmcv has a paragraph for every parameter
            child.init_weights()


@contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
