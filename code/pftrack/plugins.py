"""The user's own modules that a configuration names: ``custom_imports``, ``plugin_dir``.

As in mmdet3d's tools, ``plugin=True, plugin_dir="my_plugin/"`` imports the package of that folder,
which registers components in its turn. The folder is looked for in the working directory, then
beside the configuration file and in the folders above it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pftrack.errors import UserError

# What the original's configurations name: these modules register themselves.
_OURS = ("projects", "projects/tracking_plugin")


def import_plugins(cfg: Mapping[str, Any], config_file: Path) -> None:
    """Import the modules that a configuration names.

    Raises:
        UserError: there is no such module, or it cannot be imported.
    """
    custom = cfg.get("custom_imports") or {}
    names = custom.get("imports") or []
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) and n for n in names):
        raise UserError(
            f"custom_imports.imports in the config: names of modules, not {names!r:.60}"
        )
    for name in names:
        try:
            _import(name, Path.cwd(), config_file.parent)
        except UserError as error:
            if not custom.get("allow_failed_imports", False):
                raise UserError(f"custom_imports in the config: {error}") from None
    if not cfg.get("plugin"):
        return
    if not cfg.get("plugin_dir"):
        raise UserError("plugin=True in the config needs plugin_dir, the folder to import")
    if not isinstance(cfg["plugin_dir"], str):
        raise UserError(f"plugin_dir in the config: a folder's name, not {cfg['plugin_dir']!r:.60}")
    folder = Path(cfg["plugin_dir"])
    if folder.as_posix() not in _OURS:
        _import_folder(folder, config_file)


def _import_folder(folder: Path, config_file: Path) -> None:
    where = f"plugin_dir '{folder}' in the config"
    root = next((root for root in _roots(folder, config_file) if (root / folder).is_dir()), None)
    if root is None:
        raise UserError(
            f"{where}: no such folder in {Path.cwd()}, nor in {config_file.parent} or above it"
        )
    path = (root / folder).resolve()
    if not (path / "__init__.py").is_file():
        raise UserError(f"{where}: {path} has no __init__.py that imports its modules")
    if folder.is_absolute() or ".." in folder.parts:
        root, folder = path.parent, Path(path.name)
    if folder.parts[0] == "projects":
        _join_projects(root / "projects")
    try:
        module = _import(".".join(folder.parts), root)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if Path(str(module.__file__)).resolve().parent != path:
        raise UserError(f"{where}: another module has that name ({module.__file__}): rename it")


def _join_projects(folder: Path) -> None:
    """Find modules below ``projects`` in a copy of the release, too, beside ours if it is here."""
    if importlib.util.find_spec("projects") is None:
        return  # only pftrack is installed: the copy's is the one that is found
    ours = importlib.import_module("projects")
    if str(folder) not in ours.__path__:
        ours.__path__.append(str(folder))


def _roots(folder: Path, config_file: Path) -> Iterator[Path]:
    yield Path.cwd()
    if not folder.is_absolute():
        yield from config_file.resolve().parents


def _import(name: str, *roots: Path) -> Any:
    """Import a module, also from one of the folders ``roots``."""
    for root in map(str, roots):
        if root not in sys.path:
            sys.path.append(root)  # behind everything installed
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever the user's code raises
        raise UserError(f"cannot import {name}: {type(error).__name__}: {error}") from error
