"""Golden files that describe the reference itself: state dicts, weights, images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from laboratory.parity.compare import GoldenFile, Row
from laboratory.parity.inputs import synth_img
from laboratory.parity.models import CONFIGS
from laboratory.parity.weights import formula
from pftrack.config import load_config
from pftrack.registry import build_model


def _empty_model(config: str) -> nn.Module:
    """A configuration's model without memory for its weights."""
    with torch.device("meta"):
        return build_model(load_config(f"{CONFIGS}/{config}.py").model)


def _layout(model: nn.Module) -> dict[str, list[Any]]:
    """key -> [shape..., dtype] of a model's state dict."""
    return {k: [*v.shape, str(v.dtype)[6:]] for k, v in model.state_dict().items()}


def check_state_dict(golden: GoldenFile) -> Iterator[Row]:
    """state_dict_<family>_<config>: keys, shapes and dtypes."""
    family, config = golden.name.removeprefix("state_dict_").split("_", 1)
    yield Row("state_dict", _layout(_empty_model(f"{family}/{config}")), golden.meta)


def check_summary(golden: GoldenFile) -> Iterator[Row]:
    """state_dict_summary: parameter counts and shared entries of every configuration."""
    for config, reference in golden.meta.items():
        model = _empty_model(config.replace("_", "/", 1))
        state = model.state_dict(keep_vars=True)
        parameters = list(model.parameters())
        by_module: dict[str, int] = {}
        for name, parameter in model.named_parameters():
            module = name.split(".")[0]
            by_module[module] = by_module.get(module, 0) + parameter.numel()
        first: dict[int, str] = {}
        tied = {}
        for key, value in state.items():
            owner = first.setdefault(id(value), key)
            if owner != key:
                tied[key] = owner
        ours = {
            "n_keys": len(state),
            "n_params": sum(p.numel() for p in parameters),
            "n_trainable": sum(p.numel() for p in parameters if p.requires_grad),
            "params_by_module": by_module,
            "n_named_parameters": len(parameters),
            "n_tied_keys": len(tied),
            "tied_keys": tied,
            "not_requires_grad": sorted(
                name for name, p in model.named_parameters() if not p.requires_grad
            ),
        }
        for key, value in reference.items():
            expected = sorted(value) if isinstance(value, list) else value
            yield Row(f"{config}.{key}", ours.get(key), expected)


def check_weights(golden: GoldenFile) -> Iterator[Row]:
    """weights_check: sum, sum of absolute values and first three values of every entry."""
    for config, reference in golden.meta.items():
        model = _empty_model(config)
        first_key: dict[int, str] = {}
        ours, expected = [], []
        for key, tensor in model.state_dict(keep_vars=True).items():
            if key not in reference:
                continue
            source = first_key.setdefault(id(tensor), key)
            value = _filled(golden, config, source, tuple(tensor.shape)).astype(np.float64).ravel()
            ours.append([value.sum(), np.abs(value).sum(), *value[:3]])
            expected.append(reference[key])
        yield Row(f"{config}.keys", sorted(model.state_dict()), sorted(reference))
        yield Row(f"{config}.sums", _padded(ours), _padded(expected), "geometry")


def _filled(golden: GoldenFile, config: str, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The formula's value, or the calibrated bias that replaces it."""
    biases = GoldenFile(golden.folder / "cls_bias.json")
    replaced = biases.meta.get(config, {}) if biases.path.is_file() else {}
    return np.asarray(replaced[key], np.float32) if key in replaced else formula(key, shape)


def _padded(rows: list[list[float]]) -> np.ndarray:
    """Rows of up to five numbers; short tensors have fewer first values."""
    return np.array([[*row, *[0.0] * (5 - len(row))] for row in rows])


def check_inputs(golden: GoldenFile) -> Iterator[Row]:
    """input_check: checksums of the drawn images."""
    for name, reference in golden.meta.items():
        tag, frames = name.rsplit("_T", 1)
        img = synth_img(tag, int(frames), *reference["shape"][-2:])
        yield Row(f"{name}.shape", list(img.shape), reference["shape"])
        yield Row(f"{name}.sha256", hashlib.sha256(img.tobytes()).hexdigest(), reference["sha256"])
        sums = np.array([img.sum(dtype=np.float64), np.abs(img).sum(dtype=np.float64)])
        yield Row(
            f"{name}.sums", sums, np.array([reference["sum"], reference["abs_sum"]]), "geometry"
        )
        yield Row(
            f"{name}.first", img.ravel()[:4], np.array(reference["first"], np.float32), "numbers"
        )
