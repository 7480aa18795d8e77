"""Exports: whole or not at all, static, of operators that other compilers have."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from tracker_files import sources

from pftrack.deployment import verification
from pftrack.deployment.description import read_deployment
from pftrack.deployment.export import export_tracker
from pftrack.deployment.operators import obstacles
from pftrack.errors import UserError
from pftrack.paths import CODE

pytestmark = pytest.mark.slow


def test_a_folder_that_describes_itself(exported: Path) -> None:
    folder = exported / "onnx"
    assert sorted(f.name for f in folder.iterdir()) == [
        "README.md",
        "deployment.json",
        "tracker.onnx",
    ]
    deployment = read_deployment(folder)
    assert deployment.slots == 90 and deployment.image_size == [64, 96]
    assert deployment.thresholds.score_threshold in (0.55, 0.04)
    assert deployment.differences["score"] < 1e-4
    text = (folder / "README.md").read_text()
    for spec in (*deployment.inputs, *deployment.outputs):
        assert f"`{spec.name}`" in text or spec.name.startswith("next_")


def test_operators_and_types_are_tensorrts(exported: Path) -> None:
    graph = exported / "onnx" / "tracker.onnx"
    assert obstacles(graph) == []
    model = onnx.load(str(graph))
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert not model.functions


def test_obstacles_are_found(tmp_path: Path) -> None:
    kinds = onnx.TensorProto
    value = onnx.helper.make_tensor_value_info
    nodes = [
        onnx.helper.make_node("NonZero", ["x"], ["where"], "a"),
        onnx.helper.make_node("CumSum", ["i", "axis"], ["sums"], "b"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [value("x", kinds.DOUBLE, ["n"]), value("i", kinds.INT64, [3])],
        [value("where", kinds.INT64, [1, None]), value("sums", kinds.INT64, [3])],
        [onnx.helper.make_tensor("axis", kinds.INT64, [], [0])],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset), str(tmp_path / "g.onnx"))
    assert obstacles(tmp_path / "g.onnx") == [
        "CumSum of INT64: b",
        "DOUBLE tensor: x",
        "NonZero: depends on values",
        "not static: where",
        "not static: x",
    ]


def test_torchs_format_is_a_program_of_two_dicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")  # compiling takes minutes
    config, checkpoint = sources(tmp_path)
    deployment = export_tracker(config, checkpoint, tmp_path / "out", "torch", slots=8)
    assert deployment.graph == "tracker.pt2" and deployment.differences["score"] < 1e-5
    assert not (tmp_path / "out" / "tracker.aoti.pt2").exists()
    program = torch.export.load(tmp_path / "out" / deployment.graph).module()
    arrays = {
        spec.name: torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype))
        for spec in deployment.inputs
    }
    memory = {name[7:]: v for name, v in arrays.items() if name.startswith("memory_")}
    frame = {name: v for name, v in arrays.items() if not name.startswith("memory_")}
    report, left = program(frame, memory)
    assert {*report, *(f"next_{name}" for name in left)} == {s.name for s in deployment.outputs}


def test_what_differs_from_pytorch_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setitem(verification.BOUNDS["fp32"], "center", -1.0)
    config, checkpoint = sources(tmp_path)
    with pytest.raises(UserError, match=r"differs from PyTorch .* nothing is written"):
        export_tracker(config, checkpoint, tmp_path / "out", "torch", slots=8)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["config.py", "tiny.pth"]


def test_bad_use_is_one_line(tmp_path: Path, exported: Path) -> None:
    config, checkpoint = exported / "config.py", exported / "tiny.pth"
    with pytest.raises(UserError, match="0 slots for tracks: at least 1"):
        export_tracker(config, checkpoint, tmp_path / "out", slots=0)
    with pytest.raises(UserError, match=r"FORMAT=tf .*formats are onnx, torch"):
        export_tracker(config, checkpoint, tmp_path / "out", "tf")
    command = [sys.executable, "tools/export.py", str(checkpoint), "--config", str(config)]
    done = subprocess.run([*command, "--slots", "-3"], cwd=CODE, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: argument --slots: a whole")
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match="holds something else than an export"):
        export_tracker(config, checkpoint, tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["mine.txt"]


def test_a_description_of_another_version_is_named(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(UserError, match=r"no .*deployment.json: 'make export' writes"):
        read_deployment(tmp_path)
    (tmp_path / "deployment.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_deployment(tmp_path)
    content = json.loads((exported / "onnx" / "deployment.json").read_text())
    del content["slots"]
    (tmp_path / "deployment.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="of another version, see 'slots'"):
        read_deployment(tmp_path)


def _leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key in (
        node if isinstance(node, dict) else range(len(node) if isinstance(node, list) else 0)
    ):
        yield from _leaves(node[key], (*path, key))


def test_every_value_of_a_description_is_checked(tmp_path: Path, exported: Path) -> None:
    """No value of another type is taken anywhere, and no number that cannot be."""
    shutil.copytree(exported / "onnx", tmp_path / "onnx")
    path = tmp_path / "onnx" / "deployment.json"
    content = json.loads(path.read_text())
    wrong = [None, {"a": 1}, [[]], float("nan"), 1e308, 10**400, "../x"]
    tried = 0
    for leaf in _leaves(content):
        for value in wrong if leaf else ():
            damaged = copy.deepcopy(content)
            node = damaged
            for key in leaf[:-1]:
                node = node[key]
            if isinstance(value, str) and isinstance(node[leaf[-1]], str) and leaf[0] != "graph":
                continue  # any other text may be meant
            if leaf == ("differences",) and value == {"a": 1}:
                continue  # numbers by name
            node[leaf[-1]] = value
            path.write_text(json.dumps(damaged))
            with pytest.raises(UserError):
                read_deployment(tmp_path / "onnx")
            tried += 1
    assert tried > 250
    for leaf, value in (
        (("slots",), 0),
        (("cameras",), 0),
        (("graph",), "../onnx/model.onnx"),
        (("weights",), {"../onnx/model.onnx": "0" * 64}),
        (("image", "std"), [1.0, 0.0, 1.0]),
        (("image", "mean"), [1.0, 1.0]),
        (("image", "size_divisor"), 0),
        (("image_size",), [32, 32]),
        (("classes",), ["car", "car"]),
        (("classes", 0), ""),
        (("classes", slice(0, 1)), []),
        (("slots",), content["slots"] + 1),
        (("image", "resize"), content["image"]["resize"] * 2),
        (("image", "mean", 0), -1.0),
        (("thresholds", "score_threshold"), 40.0),
        (("thresholds", "max_age_since_update"), -1),
        (("thresholds", "tracked_labels"), [len(content["classes"])]),
        (("differences", "score"), -1.0),
        (("checkpoint_sha256",), "0" * 63),
        (("inputs", 0, "shape"), [2**20, 2**20]),
    ):
        damaged = copy.deepcopy(content)
        node = damaged
        for key in leaf[:-1]:
            node = node[key]
        node[leaf[-1]] = value
        path.write_text(json.dumps(damaged))
        with pytest.raises(UserError, match=r"deployment.json is damaged"):
            read_deployment(tmp_path / "onnx")
