"""Writes a report: HTML from the template beside this file, JSON, and a PNG summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from pftrack.evaluation.analysis import TrackEvent
from pftrack.evaluation.forecasting_metrics import METRICS, evaluate_forecasts
from pftrack.evaluation.run import Evaluation
from pftrack.files import atomic, safe_name, write_json
from pftrack.report.charts import line_chart
from pftrack.report.content import RunFacts, report_content
from pftrack.report.environment import environment
from pftrack.report.pages import metric_text, render
from pftrack.report.scene_data import scene_data
from pftrack.report.sensors import sensor_data
from pftrack.visualization.scenes import SceneFrames

SMALL = 100  # frames that go into one page, with their images
PAGES = "report_scenes"  # folder of the pages of larger results, one for each scene
_EVENTS_SHOWN = 60
_TILES = ("amota", "amotp", "mota", "recall", "ids", "frag")
_IN_PICTURE = ("amota", "amotp", "mota", "ids")
_BETTER = {"amotp": "lower", "ids": "lower", "frag": "lower"}


def write_report(
    evaluation: Evaluation,
    facts: RunFacts,
    out_dir: str | Path,
    forecasting: dict | None = None,
    sensors: Mapping[str, SceneFrames] | None = None,
    before: Evaluation | None = None,
) -> dict[str, Path]:
    """Write ``report.html``, ``report.json`` and ``report.png`` to a folder.

    Results of more than :data:`SMALL` frames get a page for each scene, in the folder
    :data:`PAGES` beside the report, which lists them.

    Args:
        sensors: scenes by name, whose images and lidar points the pages show; None: none.
        before: evaluation of other results over the same frames, drawn beside these.

    Returns:
        the three paths by suffix.
    """
    out_dir = Path(out_dir)
    if forecasting is None:
        forecasting = evaluate_forecasts(evaluation)
    content = report_content(evaluation, forecasting, facts, environment())
    paths = {kind: out_dir / f"report.{kind}" for kind in ("html", "json", "png")}
    write_json(paths["json"], content)
    scenes = _scenes(evaluation, content["events"], sensors or {}, before)
    embedded: dict[str, dict[str, Any]] = {}
    index: list[dict[str, Any]] = []
    if len(evaluation.frames) <= SMALL:
        embedded = {data["name"]: data for data in scenes}
    else:
        index = _write_pages(out_dir / PAGES, facts.title, scenes, evaluation.frames.scene_names)
    _remove_other_pages(out_dir / PAGES, {row["page"] for row in index})
    with atomic(paths["html"]) as file:
        file.write(_html(content, embedded, index))
    with atomic(paths["png"], "wb") as file:
        _picture(content, file)
    return paths


def _scenes(
    evaluation: Evaluation,
    events: list[dict[str, Any]],
    sensors: Mapping[str, SceneFrames],
    before: Evaluation | None,
) -> Iterator[dict[str, Any]]:
    """What the explorer shows, scene by scene."""
    frames = evaluation.frames
    by_scene: dict[str, list[TrackEvent]] = {}
    for event in events:
        by_scene.setdefault(event["scene"], []).append(TrackEvent(**event))
    bar = tqdm(frames.scene_names, desc="report", unit="scene", delay=2, leave=False)
    for number, name in enumerate(bar):
        data = scene_data(evaluation, number, by_scene.get(name, []), before)
        if name in sensors:
            rows = np.flatnonzero(frames.scene == number)
            tokens = [frames.sample_tokens[row] for row in rows]
            data["sensors"] = sensor_data(sensors[name], tokens, np.array(data["origin"]))
        yield data


def _page_of(scene: str) -> str:
    return f"{PAGES}/{safe_name(scene)}.html"


def _write_pages(
    folder: Path, title: str, scenes: Iterator[dict[str, Any]], names: list[str]
) -> list[dict[str, Any]]:
    """A page for each scene, ``names`` in their order; returns the rows of the list of them."""
    index = []
    for number, data in enumerate(scenes):
        page = _page_of(data["name"])
        around = [*names[max(number - 1, 0) : number], *names[number + 1 : number + 2]]
        beside = {name: Path(_page_of(name)).name for name in around}
        with atomic(folder.parent / page) as file:
            file.write(render("scene.html.j2", {data["name"]: data}, title=title, beside=beside))
        kinds = Counter(event[0] for event in data["events"])
        index.append(
            {
                "name": data["name"],
                "page": page,
                "frames": len(data["times"]),
                "objects": len(data["truth"]),
                "tracks": len(data["tracks"]),
                **{kind: kinds[kind] for kind in ("switch", "fragmentation", "miss")},
                "false_track": kinds["false track"],
            }
        )
    return index


def _remove_other_pages(folder: Path, pages: set[str]) -> None:
    """Pages of an earlier report, which this one does not list."""
    for page in folder.glob("*.html"):
        if f"{folder.name}/{page.name}" not in pages:
            page.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _html(
    content: dict[str, Any], scenes: dict[str, dict[str, Any]], index: list[dict[str, Any]]
) -> str:
    nearest = sorted(content["events"], key=lambda e: e["distance"])[:_EVENTS_SHOWN]
    return render(
        "report.html.j2",
        scenes,
        **content,
        scene_index=index,
        tiles=_TILES,
        better=_BETTER,
        shown_events=[{**e, "page": _page_of(e["scene"]) if index else ""} for e in nearest],
        recall_chart=line_chart(_recall_curves(content), "recall", "MOTAR", y_max=1.0),
        forecasting_metrics=METRICS,
        forecast_chart=_forecast_chart(content["forecasting"]),
        range_table=_pivot(content["by_range"], "range", "recall"),
        visibility_table=_pivot(content["by_visibility"], "visibility", "recall"),
    )


def _floats(values: list[float | None]) -> list[float]:
    return [float("nan") if v is None else v for v in values]


def _recall_curves(content: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """(recall, MOTAR) of each class, NaN where a recall is not reached."""
    return {
        name: list(zip(_floats(curve["recall_hypo"]), _floats(curve["motar"]), strict=True))
        for name, curve in content["curves"].items()
    }


def _forecast_chart(forecasting: dict[str, Any]) -> str:
    series = {
        predictor: [
            (float(horizon.rstrip("s")), float("nan") if v["minFDE"] is None else v["minFDE"])
            for horizon, v in horizons.items()
        ]
        for predictor, horizons in forecasting["all"].items()
    }
    return line_chart(series, "seconds ahead", "minFDE (m)")


def _pivot(rows: list[dict[str, Any]], column: str, value: str) -> dict[str, Any]:
    """Rows (class, column, value, gt) as a table: columns and one line of cells per class."""
    columns = list(dict.fromkeys(row[column] for row in rows))
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        lines.setdefault(row["class"], []).append({"value": row[value], "gt": row["gt"]})
    return {"columns": columns, "lines": lines}


def _picture(content: dict[str, Any], file: IO[bytes]) -> None:
    """The summary as one picture: per-class AMOTA and the curves it is the mean of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    names = list(content["classes"])
    values = [content["classes"][n]["amota"] for n in names]  # None: no such object in the truth
    colors = [f"C{i}" for i in range(len(names))]
    left.barh(names[::-1], [value or 0.0 for value in values[::-1]], color=colors[::-1])
    left.set_xlim(0, 1)
    left.set_xlabel("AMOTA")
    for i, value in enumerate(values[::-1]):
        left.text((value or 0.0) + 0.01, i, metric_text("amota", value), va="center", fontsize=9)
    for i, (name, curve) in enumerate(_recall_curves(content).items()):
        right.plot(*zip(*curve, strict=True), label=name, color=f"C{i}")
    right.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="MOTAR")
    right.grid(alpha=0.3)
    right.legend(fontsize=8)
    overall = content["overall"]
    figure.suptitle(
        f"{content['title']}:  "
        + "   ".join(f"{m.upper()} {metric_text(m, overall[m])}" for m in _IN_PICTURE)
    )
    figure.savefig(file, format="png", dpi=110)
