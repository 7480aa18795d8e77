"""Configuration files: reading them with overrides, and showing them expanded.

``python -m pftrack.config FILE [k=v ...]`` prints what a file and its ``_base_``
files amount to.
"""

from __future__ import annotations

import ast
import math
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pftrack.arguments import Parser
from pftrack.errors import UserError, run_cli
from pftrack.paths import CODE, portable
from pftrack.plugins import import_plugins

if TYPE_CHECKING:
    from mmcv import Config


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read an mm-style configuration file with its ``_base_`` files.

    Args:
        path: absolute, relative to the working directory, or relative to ``code/``.
        overrides: ``a.b=value`` each; a value is a Python literal, else a string, and must belong
            to an existing setting or to an existing section (lists: ``a.0.b=value``).

    Raises:
        UserError: no such file, a file that is no configuration, an override of nothing, a module
            it asks for that cannot be imported.
    """
    from mmcv import Config

    found = find_config(path)
    Config._validate_py_syntax = staticmethod(_check_syntax)
    try:
        cfg = Config.fromfile(str(found), import_custom_modules=False)
    except FileNotFoundError as error:
        _forget_frames(error)
        raise UserError(f"config {path}: {error}; check its _base_") from None
    except (Exception, SystemExit) as error:  # whatever the file's own Python code raises
        _forget_frames(error)
        raise UserError(f"config {path} cannot be read: {type(error).__name__}: {error}") from None
    for override in overrides:
        _apply(cfg, override)
    _check(cfg)
    import_plugins(cfg, found)
    return cfg


def _check_syntax(filename: str) -> None:
    """mmcv's check, for files with a byte order mark as well: Python takes them."""
    try:
        ast.parse(Path(filename).read_bytes())
    except SyntaxError as error:
        raise SyntaxError(f"There are syntax errors in config file {filename}: {error}") from None


# Sections that are read by everything; training's own are checked by training/mm_config.py.
_SECTIONS = ("model", "data", "custom_imports")


def _check(cfg: Config) -> None:
    """Sections are dicts and numbers finite, whoever reads them later."""
    data = cfg.get("data")
    parts = {name: cfg.get(name) for name in _SECTIONS}
    splits = ("train", "val", "test", "test_tracking")
    parts |= {f"data.{s}": data.get(s) for s in splits if isinstance(data, Mapping)}
    for name, section in parts.items():
        if section is not None and not isinstance(section, Mapping):
            raise UserError(f"setting '{name}' in the config: expected a dict, got {section!r:.80}")
    for path, number in _numbers(cfg._cfg_dict, ""):
        # An infinite norm is the largest of the gradients.
        if math.isnan(number) or (math.isinf(number) and not path.endswith("norm_type")):
            raise UserError(f"setting '{path}' in the config: {number} is not a finite number")


def _numbers(node: Any, path: str) -> Iterator[tuple[str, float]]:
    """Every float of a configuration with its dotted path."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _numbers(value, f"{path}.{key}".lstrip("."))
    elif isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            yield from _numbers(value, f"{path}.{number}")
    elif isinstance(node, float):
        yield path, node


def _forget_frames(error: BaseException) -> None:
    """End what mmcv has open when it fails: a temporary file whose folder is gone already, and
    whose destructor would say so."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        traceback.clear_frames(error.__traceback__)
    finally:
        sys.unraisablehook = hook


def config_text(cfg: Config) -> str:
    """A configuration with everything expanded, as Python where mmcv can write it so."""
    try:
        return str(cfg.pretty_text)
    except Exception:  # mmcv does not quote what is in texts
        return repr(cfg._cfg_dict)


def configuration_name(path: str | Path) -> str:
    """``petr/f3_q5_800x320`` for that configuration, and for what the release calls f3_q500_..."""
    path = Path(path)
    return f"{path.parent.name}/{path.stem.replace('_q500_', '_q5_')}"


def find_config(path: str | Path) -> Path:
    """The file a user means: as given, or below ``code/``.

    Raises:
        UserError: there is none.
    """
    path = portable(path)
    for candidate in (path, CODE / path):
        if candidate.is_file():
            return candidate
    if Path(path).is_dir() or (CODE / path).is_dir():
        raise UserError(f"config {path} is a folder: give a .py file in it")
    near = sorted(p.name for p in (CODE / "projects/configs/tracking").glob("*/*.py"))
    raise UserError(f"config {path} does not exist; shipped ones: {', '.join(dict.fromkeys(near))}")


def parse_value(text: str) -> Any:
    """A Python literal (``3``, ``1e-4``, ``[1,2]``, ``None``, ``True``) or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _apply(cfg: Config, override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise UserError(f"override '{override}': write it as key.subkey=value")
    node: Any = cfg
    for i, part in enumerate(parts[:-1]):
        node = _child(node, part, key, parts[: i + 1])
    _set(node, parts[-1], parse_value(text), key)


def _child(node: Any, part: str, key: str, walked: Sequence[str]) -> Any:
    if isinstance(node, (list, tuple)):
        if part.isdigit() and int(part) < len(node):
            return node[int(part)]
    elif hasattr(node, "keys") and part in node:
        return node[part]
    raise UserError(
        f"override '{key}': the config has no '{'.'.join(walked)}'{_did_you_mean(node, part)}"
    )


def _set(node: Any, part: str, value: Any, key: str) -> None:
    if isinstance(node, list):
        if not (part.isdigit() and int(part) < len(node)):
            raise UserError(f"override '{key}': the list has {len(node)} entries")
        node[int(part)] = value
    elif hasattr(node, "keys"):
        close = _did_you_mean(node, part)
        if part not in node and close:
            raise UserError(f"override '{key}': no such setting{close}")
        node[part] = value
    else:
        raise UserError(f"override '{key}': '{key.rpartition('.')[0]}' has no settings below it")


def _did_you_mean(node: Any, part: str) -> str:
    """A hint where ``part`` looks like a misspelled key of ``node``."""
    import difflib

    if not hasattr(node, "keys"):
        return ""
    close = difflib.get_close_matches(part, [str(k) for k in node], n=1, cutoff=0.8)
    return f": did you mean '{close[0]}'?" if close else ""


def main() -> None:
    parser = Parser(
        prog=sys.argv[0] if sys.argv[0].startswith("pftrack") else "python -m pftrack.config",
        description="print a configuration with its _base_ files and overrides applied",
    )
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_args()
    sys.stdout.write(config_text(load_config(args.config, args.overrides)).rstrip() + "\n")


if __name__ == "__main__":
    run_cli(main)
