"""Modules of the user's own that a configuration names are imported, and register components."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import projects
from pftrack.config import load_config
from pftrack.errors import UserError
from pftrack.registry import find_model

COMPONENT = """
from pftrack.registry import MODELS

@MODELS.register_module()
class {name}:
    pass
"""


@pytest.fixture(autouse=True)
def search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test finds only its own modules, which have names of their own."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(projects, "__path__", [*projects.__path__])


def package(folder: Path, name: str) -> Path:
    """A package whose ``parts`` module registers a component."""
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from . import parts\n")
    (folder / "parts.py").write_text(COMPONENT.format(name=name))
    return folder


def config(folder: Path, plugin_dir: str, more: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mine.py"
    path.write_text(f"plugin = True\nplugin_dir = {plugin_dir!r}\n{more}")
    return path


def test_the_folder_of_the_release_is_ours(tmp_path: Path) -> None:
    before = set(sys.modules)
    load_config(config(tmp_path, "projects/"))
    load_config(config(tmp_path, "pftrack/"))
    assert set(sys.modules) == before


def test_a_folder_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path / "plugin_here", "InWorkingDirectory")
    monkeypatch.chdir(tmp_path)
    load_config(config(tmp_path / "elsewhere", "plugin_here/"))
    assert find_model("InWorkingDirectory")


def test_a_folder_beside_or_above_the_file_and_an_absolute_one(tmp_path: Path) -> None:
    package(tmp_path / "work" / "parts_a" / "inner", "BesideTheFile")
    (tmp_path / "work" / "parts_a" / "__init__.py").touch()
    load_config(config(tmp_path / "work" / "configs" / "deep", "parts_a/inner"))
    assert find_model("BesideTheFile")
    absolute = package(tmp_path / "far" / "parts_b", "FarAway")
    load_config(config(tmp_path / "work", str(absolute)))
    assert find_model("FarAway")
    package(tmp_path / "far" / "parts_c", "UpAndOver")
    load_config(config(tmp_path / "work", "../far/parts_c/"))
    assert find_model("UpAndOver")


def test_a_folder_below_projects_of_a_copy_of_the_release(tmp_path: Path) -> None:
    """Ours has the name ``projects`` too; both are found."""
    package(tmp_path / "release" / "projects" / "my_plugin", "InTheirProjects")
    folder = tmp_path / "release" / "projects" / "configs" / "tracking" / "petr"
    load_config(config(folder, "projects/my_plugin/"))
    assert find_model("InTheirProjects")


def test_custom_imports_find_modules_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "module_beside.py").write_text(COMPONENT.format(name="FromCustomImports"))
    (tmp_path / "mine.py").write_text("custom_imports = dict(imports=['module_beside'])\n")
    load_config(tmp_path / "mine.py")
    assert find_model("FromCustomImports")
    optional = "custom_imports = dict(imports=['not_there'], allow_failed_imports=True)\n"
    (tmp_path / "mine.py").write_text(optional)
    load_config(tmp_path / "mine.py")


@pytest.mark.parametrize(
    ("plugin_dir", "init", "words"),
    [
        ("nowhere/", None, "plugin_dir 'nowhere' in the config: no such folder in "),
        ("bare/", "", r"bare has no __init__\.py"),
        ("plugin_broken/", "import missing_library", "No module named 'missing_library'"),
        ("plugin_raising/", "raise KeyError('x')", "cannot import plugin_raising: KeyError: 'x'"),
        ("json/", "", r"another module has that name \(.*json"),
        ("", None, "plugin=True in the config needs plugin_dir"),
    ],
)
def test_what_cannot_be_imported_is_one_line(
    tmp_path: Path, plugin_dir: str, init: str | None, words: str
) -> None:
    if init is not None:
        (tmp_path / plugin_dir).mkdir()
        if "bare" not in plugin_dir:
            (tmp_path / plugin_dir / "__init__.py").write_text(init)
    with pytest.raises(UserError, match=words) as error:
        load_config(config(tmp_path, plugin_dir))
    assert "\n" not in str(error.value)
