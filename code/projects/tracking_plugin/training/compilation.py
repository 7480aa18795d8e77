"""The ``compile`` setting: parts of the model through torch.compile, or one line why not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence

from torch import nn

from projects.tracking_plugin.errors import UserError


def compile_modules(model: nn.Module, names: Sequence[str]) -> None:
    """Compile submodules in place, on their first call; names in the state dict stay.

    Args:
        names: of submodules, e.g. ``img_backbone``; of one that is not called itself
            (``STReasoner``) the parts are compiled.

    Raises:
        UserError: no such submodule, or no C++ compiler (TorchInductor needs one on every device).
    """
    if not names:
        return
    parts = [name for name, _ in model.named_children()]
    for name in names:
        try:
            model.get_submodule(name)
        except AttributeError:
            raise UserError(
                f"compile={name}: the model has no such part; it has {', '.join(parts)}"
            ) from None
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise UserError(
            f"compile={','.join(names)} needs a C++ compiler and there is no '{compiler}': install "
            "one, set CXX, or leave 'compile' out"
        )
    for name in names:
        for module in _called(model.get_submodule(name)):
            module.compile()


def _called(module: nn.Module) -> Iterator[nn.Module]:
    """The module, or where it has no ``forward`` those of its children that have one."""
    if type(module).forward is not nn.Module.forward:
        yield module
        return
    for child in module.children():
        yield from _called(child)
