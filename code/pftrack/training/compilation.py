"""The ``compile`` setting: parts of the model through torch.compile, or one line why not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence

from torch import nn

from pftrack.errors import UserError


def compile_modules(model: nn.Module, names: Sequence[str]) -> None:
    """Compile submodules in place, on their first call; names in the state dict stay.

    Args:
        names: of submodules, e.g. ``img_backbone``; of one that is not called itself
            (``STReasoner``) the parts are compiled.

    Raises:
        UserError: no such submodule, one of torch's own layers (compiling them has no effect), or
            no C++ compiler (TorchInductor needs one on every device).
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
        modules = list(_compilable(model.get_submodule(name)))
        if not modules:
            raise UserError(
                f"compile={name}: torch.compile leaves torch's own layers as they are; name a part "
                "with a forward of its own"
            )
        for module in modules:
            module.compile()


def _compilable(module: nn.Module) -> Iterator[nn.Module]:
    """The module, or those of its parts that have a ``forward`` which is not torch's own."""
    torchs_own = type(module).__module__.startswith("torch.")
    if type(module).forward is not nn.Module.forward and not torchs_own:
        yield module
        return
    for child in module.children():
        yield from _compilable(child)
