"""The original's nine configuration files, written from a list of their settings.

``release_settings.json`` holds every setting of every file by its dotted name: those that all nine
share, those of a family, and a table of the others with a column for each file (null: not stated).
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pftrack.commands import track as track_command
from pftrack.commands import train as train_command
from pftrack.errors import run_cli

DATA = json.loads(Path(__file__).with_name("release_settings.json").read_text(encoding="utf-8"))
NAMES: list[str] = DATA["configurations"]


def settings(name: str) -> dict[str, Any]:
    """Dotted name -> value of everything that the file ``name`` states, its base's included."""
    column = NAMES.index(name)
    own = {key: values[column] for key, values in DATA["each"].items()}
    family = DATA["families"][name.split("/")[0]]
    stated = {key: value for key, value in own.items() if value is not None}
    return copy.deepcopy(DATA["shared"] | family | stated)


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """The configuration that dotted names describe; numbers in them are positions in lists."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    return _with_lists(tree)


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    values = {key: _with_lists(value) for key, value in node.items()}
    if values and all(key.isdigit() for key in values):
        return [values[str(i)] for i in range(len(values))]
    return values


def write(folder: Path, name: str, flat: dict[str, Any] | None = None) -> Path:
    """Write the file ``name`` below ``folder`` as the original lays it out, and its base.

    Args:
        flat: its settings, where they are not those of the original.
    """
    tree = nested(settings(name) if flat is None else flat)
    base = {key: tree.pop(key) for key in DATA["runtime"] if key in tree}
    path = folder / "tracking" / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "runtime.py").write_text(_assignments(base), encoding="utf-8")
    path.write_text("_base_ = ['../../runtime.py']\n" + _assignments(tree), encoding="utf-8")
    return path


def _assignments(values: dict[str, Any]) -> str:
    return "".join(f"{name} = {value!r}\n" for name, value in values.items())


def small(name: str, data_root: Path, infos: dict[str, Path]) -> list[str]:
    """Overrides that make a run of ``name`` on a data set of the tests take seconds."""
    channels = [384, 512] if name.startswith("petr") else [112, 256, 384, 512]
    options = [
        "data.workers_per_gpu=0",
        "log_config.interval=1",
        "runner.max_iters=2",
        "model.num_query=40",
        "model.img_backbone.spec_name=V-19-slim-eSE",
        f"model.img_neck.in_channels={channels}",
        "model.pts_bbox_head.transformer.decoder.num_layers=2",
    ]
    for section in ("train", "val", "test", "test_tracking"):
        image = f"data.{section}.pipeline_multiframe.0.data_aug_conf"
        options += [
            f"data.{section}.data_root={data_root}/",
            f"data.{section}.ann_file={infos['train' if section == 'train' else 'val']}",
            f"{image}.final_dim=(64, 160)",
            f"{image}.resize_lim=(0.1, 0.11)",
        ]
    return options


def train(config: Path, *arguments: object) -> int:
    """Exit status of ``tools/train.py`` on the CPU, in this process."""
    command = [str(config), "--device", "cpu", *map(str, arguments)]
    with pytest.raises(SystemExit) as left:
        run_cli(lambda: train_command.main(command))
    return left.value.code


def track(config: Path, checkpoint: Path, *arguments: object) -> int:
    """Exit status of ``tools/test_tracking.py`` on the CPU, in this process."""
    command = ["test_tracking.py", str(config), str(checkpoint), "--gpus", "0"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
        patch.setattr(sys, "argv", [*command, *map(str, arguments)])
        run_cli(track_command.main)
    return left.value.code
