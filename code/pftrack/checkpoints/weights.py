"""The weights in a checkpoint, under the names by which a model knows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from pftrack.errors import UserError

ENTRIES = ("state_dict", "model", "model_state_dict")  # where training programs put the weights
AVERAGED = ("state_dict_ema", "ema_state_dict", "model_ema")  # and their moving averages
WRAPPER_PREFIXES = ("module.", "model.")  # what DataParallel and wrapping runners put before keys
COMPILED = "_orig_mod."  # what torch.compile puts before the names of what it wraps
TWIN = "ema_"  # what mmcv's EMAHook puts before a name, whose dots become underscores


def read_weights(
    checkpoint: Mapping[str, Any], name: str = "checkpoint"
) -> tuple[dict[str, Tensor], list[str]]:
    """The weights in a training checkpoint or a bare state dict.

    Args:
        checkpoint: what :func:`pftrack.checkpoints.reading.load_checkpoint_file` returned.
        name: what to call it in an error.

    Returns:
        key -> tensor, without ``module.`` / ``model.`` in front of every key, ``_orig_mod.``
        anywhere, or the twins of an averaging hook; and a remark on each but the first.

    Raises:
        UserError: there are no weights in it.
    """
    remarks = []
    averaged = [entry for entry in AVERAGED if isinstance(checkpoint.get(entry), Mapping)]
    for entry in (*ENTRIES, *averaged):
        if isinstance(checkpoint.get(entry), Mapping):
            if averaged:
                others = [e for e in averaged if e != entry]
                left = f", {', '.join(others)} left aside" * bool(others)
                remarks.append(f"weights of '{entry}' taken{left}")
            checkpoint = checkpoint[entry]
            break
    weights = {k: v for k, v in checkpoint.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not weights or len(weights) < len(checkpoint):
        raise UserError(
            f"'{name}' holds no model weights (neither a 'state_dict' nor a plain table of "
            "tensors); is it an optimizer state or a results file?"
        )
    names = strip_prefixes(weights)
    if any(COMPILED in key for key in weights):
        remarks.append(f"'{COMPILED}' taken off the names: they are those of a compiled model")
    twins = {TWIN + key.replace(".", "_") for key in names.values()}.intersection(names.values())
    if twins:
        remarks.append(f"{len(twins)} entries '{TWIN}...' left aside: twins of an averaging hook")
    return {
        names[key]: value.detach() for key, value in weights.items() if names[key] not in twins
    }, remarks


def extract_state_dict(
    checkpoint: Mapping[str, Any], name: str = "checkpoint"
) -> dict[str, Tensor]:
    """:func:`read_weights` without the remarks."""
    return read_weights(checkpoint, name)[0]


def strip_prefixes(keys: Iterable[str]) -> dict[str, str]:
    """Key -> key without the wrappers that every key of the file carries."""
    names = {key: key.replace(COMPILED, "") for key in keys}
    while names:
        for prefix in WRAPPER_PREFIXES:
            if all(name.startswith(prefix) for name in names.values()):
                names = {key: name.removeprefix(prefix) for key, name in names.items()}
                break
        else:
            break
    return names
