"""Results of trackers and detectors, and what was noted about a run."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from laboratory.battery.cases.maker import Main, Maker, command
from laboratory.battery.worker import Case


def _box(content: Any, name: str, at: float) -> str:
    """A field of some box of some sample."""
    if name.startswith(("meta", "results")):
        return name
    samples = [token for token, boxes in content["results"].items() if boxes]
    token = samples[int(at * len(samples))]
    boxes = content["results"][token]
    return f"results.{token}.{int(at * 7919) % len(boxes)}.{name}"


def results(make: Maker) -> Iterator[Case]:
    kinds = {
        "translation": "vec3", "size": "size", "rotation": "quaternion", "velocity": "vec2",
        "tracking_score": "score", "tracking_name": "class", "tracking_id": "identity",
        "meta": "dict", "results": "dict",
    }  # fmt: skip
    uses = (make.evaluate, make.report, make.video)
    data = make.world.results.read_bytes()
    for n, use in enumerate(uses):
        own = {k: v for k, v in kinds.items() if use != make.video or k not in ("meta", "velocity")}
        yield from make.spoiled(
            "results", lambda: make.world.result_content, own, 90 - 30 * n, use, n, _box
        )
        yield from make.texts("results", data, 12, use, 10 + n)
    yield from _odd_results(make)


def _odd_results(make: Maker) -> Iterator[Case]:
    def sample(content: Any) -> str:
        return next(t for t, boxes in content["results"].items() if boxes)

    def twice(content: Any) -> None:
        boxes = content["results"][sample(content)]
        boxes.append(dict(boxes[0]))

    def unknown(content: Any) -> None:
        content["results"]["f" * 32] = []

    def lacking(content: Any) -> None:
        del content["results"][sample(content)]

    def many(content: Any) -> None:
        boxes = content["results"][sample(content)]
        content["results"][sample(content)] = [
            dict(boxes[0], tracking_id=str(i)) for i in range(501)
        ]

    def other(content: Any) -> None:
        content["results"][sample(content)][0]["sample_token"] = "e" * 32

    def forecasts(content: Any) -> None:
        for box in content["results"][sample(content)]:
            box["forecasting"] = [[0.0, float("nan")]]

    def no_list(content: Any) -> None:
        content["results"][sample(content)] = {"0": {}}

    for change in (twice, unknown, lacking, many, other, forecasts, no_list):

        def run(folder: Path, change: Callable[[Any], None] = change) -> tuple[Main, list[str]]:
            content = copy.deepcopy(make.world.result_content)
            change(content)
            file = folder / "results.json"
            file.write_text(json.dumps(content))
            return make.evaluate(file, folder)

        yield Case("results", change.__name__, run)


def detections(make: Maker) -> Iterator[Case]:
    kinds = {
        "translation": "vec3", "size": "size", "rotation": "quaternion", "velocity": "vec2",
        "detection_score": "score", "detection_name": "class", "results": "dict",
    }  # fmt: skip
    yield from make.spoiled(
        "detections",
        lambda: make.world.detection_content,
        kinds,
        40,
        make.evaluate,
        20,
        _box,
    )


def run_files(make: Maker) -> Iterator[Case]:
    kinds = {
        "job": "dict", "job.config": "text", "job.checkpoint": "text", "devices": "dict",
        "frames": "count", "wall_seconds": "positive", "seconds": "text", "version": "text",
        "data_root": "text", "result_path": "text",
    }  # fmt: skip

    def use(file: Path, folder: Path) -> tuple[Main, list[str]]:
        result = file.with_name("results_nusc.json")
        result.symlink_to(make.world.results)
        if file.name != "run.json":
            file.rename(file.with_name("run.json"))
        return command("report", result, "--out", folder / "out")

    yield from make.spoiled("run", lambda: make.world.run_content, kinds, 50, use, 30)
    text = json.dumps(make.world.run_content).encode()
    yield from make.texts("run", text, 10, use, 31)
