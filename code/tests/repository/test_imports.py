"""The package's rooms: imports lead down only, none leads outside, a test meets every module."""

from __future__ import annotations

from graphlib import TopologicalSorter

import pytest
from imports import has_logic, imports, modules

from laboratory.parity.run import CHECKS
from pftrack.commands.cli import COMMANDS

# From the bottom up; a room may import those before it. A module may be listed apart from its room.
ORDER = (
    "compatibility.libraries",  # the package itself imports it before anything else
    "errors",
    "values",
    "arguments",
    "extras",
    "paths",
    "revision",
    "devices",
    "memory",
    "live",
    "pickles",
    "files",
    "locks",
    "ports",
    "processes",
    "nuscenes.facts",
    "geometry",
    "frames",
    "sequences",
    "structures",
    "boxes",
    "stated",
    "registry",
    "plugins",
    "config",
    "nuscenes",
    "models",
    "checkpoints",
    "datasets",
    "conversion",
    "data",
    "evaluation",
    "visualization",
    "report",
    "deployment",
    "tracking",
    "deployment.verification",
    "deployment.export",
    "baseline",
    "training",
    "retraining",
    "commands",
    "compatibility",
)
PACKAGE = modules("pftrack")
# What tests meet by a name that is put together at run time.
BY_NAME = {
    *COMMANDS.values(),  # commands/test_cli.py
    *modules("laboratory/benchmarks"),  # laboratory/benchmarks/test_help.py
    *(f"laboratory.parity.{check.split(':')[0]}" for check in CHECKS.values()),  # test_compare.py
    "pftrack.models.dense_heads.detr3d_head",  # models/__init__.py imports every component
    "pftrack.models.layers.transformer",
    *modules("laboratory/battery"),  # run.py imports the others, and tools/battery.py runs them
    "pftrack.models.trackers.cuda_graph",  # tracking/test_static_tracker.py, on a GPU
    "pftrack.compatibility.mm",  # processes/test_mm.py, in a fresh interpreter
    "pftrack.training.run",  # processes/test_training_cli.py, through the command
    "pftrack.visualization.video",  # processes/test_command_lines.py, through the command
    "pftrack.data.folder",  # data/test_importers.py, through the command
    "pftrack.data.kitti",
    "pftrack.report.compare_page",  # commands/test_compare.py, through the command
}


def level(module: str) -> int:
    """Place in the order; the package's own ``__init__`` hands names of all rooms on."""
    inside = module.removeprefix("pftrack.")
    if module == "pftrack":
        return len(ORDER)
    room = inside if inside in ORDER else inside.split(".")[0]
    assert room in ORDER, f"{module}: say in ORDER where its room stands"
    return ORDER.index(room)


@pytest.mark.parametrize("module", PACKAGE)
def test_imports_lead_down(module: str) -> None:
    for name in imports(PACKAGE[module], PACKAGE):
        if name.split(".")[0] == "pftrack":
            assert level(name) <= level(module), f"{module} imports {name}"
        assert name.split(".")[0] not in ("laboratory", "projects", "tools", "tests"), name


def test_no_circle() -> None:
    graph = {module: set(imports(path, PACKAGE)) - {module} for module, path in PACKAGE.items()}
    assert list(TopologicalSorter(graph).static_order())


def test_every_module_is_met_by_a_test() -> None:
    """Directly, or through a module of the same room whose inner part it is."""
    known = modules("pftrack", "laboratory")
    tests = modules("tests")
    met: set[str] = set()
    todo = [*BY_NAME, *(name for path in tests.values() for name in imports(path, known))]
    while todo:
        name = todo.pop()
        if name in known and name not in met:
            met.add(name)
            room = name.split(".")[:2]
            todo += [n for n in imports(known[name], known) if n.split(".")[:2] == room]
    missing = {name for name, path in known.items() if has_logic(path)} - met
    assert not missing
