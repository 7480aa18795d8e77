"""Makes the locked mm libraries import on today's numpy and mmcv, without editing them.

Three gaps are closed, each only when the module concerned is really imported:

* numpy: the aliases removed in 1.24 (``np.bool``, ``np.int``, ...) that mmdet, mmdet3d and the
  lyft SDK still use;
* ``mmcv._ext``: where mmcv was installed without compiled operators, a stand-in whose functions
  name the missing operator when they are called;
* mmdet3d 1.0.0rc6 asserts mmcv <= 1.7.0; 1.7.2 differs only in build flags and is accepted.

Every entry point imports :mod:`pftrack` (which calls :func:`install`) first.
"""

from __future__ import annotations

import importlib.machinery
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

MMCV_VERSION = "1.7.2"
MMCV_VERSION_SHOWN_TO_MMDET3D = "1.7.0"
NUMPY_ALIASES = {"bool": bool, "int": int, "float": float, "object": object, "long": int}


def add_numpy_aliases() -> None:
    """Set the aliases removed from numpy to the builtins they stood for."""
    import numpy as np

    for name, builtin in NUMPY_ALIASES.items():
        if name not in np.__dict__:
            setattr(np, name, builtin)


class MissingOperator(RuntimeError):
    """A compiled operator of mmcv was called where there is none: the user's to put right."""


class _MissingOperators(ModuleType):
    """Stands for ``mmcv._ext``: any attribute is a function that says which operator is missing."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_args: Any, **_kwargs: Any) -> Any:
            raise MissingOperator(
                f"mmcv operator '{name}' is not compiled here: it needs the CUDA image: make build"
            )

        return missing


class _ExtLoader:
    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _MissingOperators(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _ExtFinder:
    """Last on ``sys.meta_path``: reached for ``mmcv._ext`` only when no compiled one exists."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "mmcv._ext":
            return None
        return importlib.machinery.ModuleSpec(name, _ExtLoader())  # type: ignore[arg-type]


def _load_numpy(run: Callable[[ModuleType], None], module: ModuleType) -> None:
    run(module)
    add_numpy_aliases()


def _load_mmdet3d(run: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Show mmdet3d, while it is imported, a version of mmcv that it accepts."""
    import mmcv

    if mmcv.__version__ != MMCV_VERSION:
        run(module)
        return
    mmcv.__version__ = MMCV_VERSION_SHOWN_TO_MMDET3D
    try:
        run(module)
    finally:
        mmcv.__version__ = MMCV_VERSION


_LOADERS = {"numpy": _load_numpy, "mmdet3d": _load_mmdet3d}


class _LoadingFinder:
    """First on ``sys.meta_path``: finds the modules of ``_LOADERS`` and loads them with those."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in _LOADERS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        load = partial(_LOADERS[name], spec.loader.exec_module)
        spec.loader.exec_module = load  # type: ignore[method-assign]
        return spec


def silence_import_notices() -> None:
    """Keep stderr for what concerns the user: mmcv announces a release of 2023, torch that a CUDA
    compiler is here without a device, and, when mmcv asks it, that a driver is too old
    (:func:`pftrack.devices.find_gpus` says that where a GPU is wanted)."""
    warnings.filterwarnings("ignore", message="On January 1, 2023, MMCV", category=UserWarning)
    warnings.filterwarnings("ignore", message="CUDA initialization", category=UserWarning)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)


def install() -> None:
    """Close the gaps. May be called any number of times."""
    silence_import_notices()
    if _LoadingFinder not in sys.meta_path:
        if "numpy" in sys.modules:
            add_numpy_aliases()
        sys.meta_path.insert(0, _LoadingFinder)
        sys.meta_path.append(_ExtFinder)
