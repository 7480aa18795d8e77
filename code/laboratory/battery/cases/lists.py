"""The package's own lists: manifest, lock, record of trainings, history of evaluations."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from laboratory.battery.cases.maker import MISSING, Main, Maker, command, fields, show
from laboratory.battery.worker import Case

OPTIONAL = ("evaluate", "at_least", "step_time", "published", "retrained", "clips_per_step")


def manifests(make: Maker) -> Iterator[Case]:
    from pftrack.checkpoints.manifest import MANIFEST

    kinds = {
        "base_url": "text", "license": "text", "files": "dict", "files.0": "dict",
        "files.0.name": "text", "files.0.path": "text", "files.0.archive": "text",
        "files.0.members": "dict", "files.1.kind": "text", "files.2.published": "list",
        "files.0.verified": "bool", "files.0.members.0": "text",
    }  # fmt: skip

    def use(file: Path, folder: Path) -> tuple[Main, list[str]]:
        return command("download_checkpoints", "--manifest", file, "--list")

    def place(content: Any, name: str, at: float) -> str:
        return name

    optional = {"files.0.verified", "files.2.published", "files.0", "files.0.members.0"}
    data = MANIFEST.read_bytes()
    cases = make.spoiled("manifest", lambda: json.loads(data), kinds, 40, use, 40, place)
    yield from (c for c in cases if c.name not in {f"{n} = {MISSING!r}" for n in optional})
    yield from make.texts("manifest", data, 10, use, 41)
    for path in ("../x.pth", "/etc/x.pth", "a/../../x", "", "a\\..\\x", "C:/x", "a\0b"):

        def run(folder: Path, path: str = path) -> tuple[Main, list[str]]:
            content = json.loads(data)
            content["files"][0]["path"] = path
            (folder / "m.json").write_text(json.dumps(content))
            return use(folder / "m.json", folder)

        yield Case("manifest", f"path {path!r}", run)


def locks(make: Maker) -> Iterator[Case]:
    content = {
        "a.pth": {"size": 3, "sha256": "0" * 64},
        "b.zip": {"size": 4, "sha256": "1" * 64},
    }
    kinds = {
        "a.pth": "dict", "a.pth.size": "count", "b.zip.sha256": "token",
    }  # fmt: skip

    def use(file: Path, folder: Path) -> tuple[Main, list[str]]:
        store = folder / "in"
        if file.name != "manifest.lock.json":
            file.rename(store / "manifest.lock.json")
        return command("download_checkpoints", "--to", store, "--mirror", folder / "in")

    def place(content: Any, name: str, _at: float) -> str:
        return name

    for name, value, _at in make.draws(fields(kinds), 30, 45):

        def run(folder: Path, name: str = name, value: Any = value) -> tuple[Main, list[str]]:
            spoiled = copy.deepcopy(content)
            key, _, field = name.rpartition(".") if name.count(".") > 1 else (name, "", "")
            if value == MISSING:
                value = None
            if field:
                spoiled[key][field] = value
            else:
                spoiled[name] = value
            (folder / "in").mkdir()
            file = folder / "in" / "manifest.lock.json"
            file.write_text(json.dumps(spoiled))
            return use(file, folder)

        yield Case("lock", f"{name} = {show(value)}", run)
    yield from make.texts("lock", json.dumps(content).encode(), 8, use, 46)


def records(make: Maker) -> Iterator[Case]:
    from pftrack.paths import RETRAINING_RECORD

    data = RETRAINING_RECORD.read_bytes()
    content = json.loads(data)
    stage = "stages.0"
    kinds = {"version": "text", "stages": "dict", stage: "list"}
    kinds |= {f"{stage}.{k}": _kind(v) for k, v in content["stages"][0].items()}

    def use(file: Path, folder: Path) -> tuple[Main, list[str]]:
        return command(
            "retrain", "--record", file, "--plan", "--work-dir", folder / "out", "--gpus", 0
        )

    def place(content: Any, name: str, at: float) -> str:
        return name

    # What a record may leave out, and a stage of it.
    optional = {name for name in kinds if name.rpartition(".")[2] in (*OPTIONAL, "0")}
    cases = make.spoiled("record", lambda: content, kinds, 50, use, 50, place)
    yield from (
        case
        for case in cases
        if not any(case.name.startswith(f"{name} = {MISSING!r}") for name in optional)
        and not case.name.endswith(("= None", ".evaluate = []"))
    )
    yield from make.texts("record", data, 10, use, 51)


def histories(make: Maker) -> Iterator[Case]:
    from pftrack.training.evaluation import EvaluationHistory
    from pftrack.training.settings import EvaluationSettings

    content = {"1": {"amota": 0.2, "amotp": 1.5}, "2": {"amota": 0.3}}
    kinds = {"1": "dict", "2.amota": "number"}

    def use(file: Path, folder: Path) -> tuple[Main, list[str]]:
        if file.name != "evaluations.json":
            file.rename(file.with_name("evaluations.json"))
        history = EvaluationHistory(file.parent, EvaluationSettings(interval=1))
        return lambda: int(history.add(3, {"amota": 0.4})) * 0, []

    cases = make.spoiled("history", lambda: content, kinds, 16, use, 55)
    # NaN is what a metric may be; no list of metrics is as good as an empty one.
    finite = (c for c in cases if not any(w in c.name for w in (MISSING, "nan", "inf", "{}")))
    yield from finite
    yield from make.texts("history", json.dumps(content).encode(), 8, use, 56)


def _kind(value: Any) -> str:
    """The kind of bad values for a field that holds ``value``."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "count"
    if isinstance(value, float):
        return "number"
    return "dict" if isinstance(value, dict) else "text"
