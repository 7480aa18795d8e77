"""Writes a report: HTML from the template beside this file, JSON, and a PNG summary."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import IO, Any

from pftrack.evaluation.analysis import TrackEvent
from pftrack.evaluation.forecasting_metrics import evaluate_forecasts
from pftrack.evaluation.run import Evaluation
from pftrack.evaluation.text import format_metric
from pftrack.files import atomic, write_json
from pftrack.report.charts import FrameViews, line_chart
from pftrack.report.content import RunFacts, report_content
from pftrack.report.environment import environment

_EVENTS_SHOWN = 60
_TILES = ("amota", "amotp", "mota", "recall", "ids", "frag")
_BETTER = {"amotp": "lower", "ids": "lower", "frag": "lower"}


def write_report(
    evaluation: Evaluation, facts: RunFacts, out_dir: str | Path, forecasting: dict | None = None
) -> dict[str, Path]:
    """Write ``report.html``, ``report.json`` and ``report.png`` to a folder.

    Returns:
        the three paths by suffix.
    """
    out_dir = Path(out_dir)
    if forecasting is None:
        forecasting = evaluate_forecasts(evaluation)
    content = report_content(evaluation, forecasting, facts, environment())
    paths = {kind: out_dir / f"report.{kind}" for kind in ("html", "json", "png")}
    write_json(paths["json"], content)
    with atomic(paths["html"]) as file:
        file.write(_html(content, evaluation))
    with atomic(paths["png"], "wb") as file:
        _picture(content, file)
    return paths


def template_environment() -> Any:
    """The templates beside this file, with the filters ``metric``, ``number`` and ``shown``."""
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    env.filters["metric"] = lambda value, name: _text(name, value)
    env.filters["number"] = lambda value, digits=3: "–" if value is None else f"{value:.{digits}f}"
    env.filters["shown"] = shlex.quote
    return env


def _html(content: dict[str, Any], evaluation: Evaluation) -> str:
    events = sorted(content["events"], key=lambda e: e["distance"])[:_EVENTS_SHOWN]
    views = FrameViews(evaluation)
    return (
        template_environment()
        .get_template("report.html.j2")
        .render(
            **content,
            tiles=_TILES,
            better=_BETTER,
            shown_events=[{**e, "view": views.draw(TrackEvent(**e))} for e in events],
            recall_chart=line_chart(_recall_curves(content), "recall", "MOTAR", y_max=1.0),
            forecast_chart=_forecast_chart(content["forecasting"]),
            range_table=_pivot(content["by_range"], "range", "recall"),
            visibility_table=_pivot(content["by_visibility"], "visibility", "recall"),
        )
    )


def _text(name: str, value: float | None) -> str:
    return "–" if value is None else format_metric(name, value)


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
        left.text((value or 0.0) + 0.01, i, _text("amota", value), va="center", fontsize=9)
    for i, (name, curve) in enumerate(_recall_curves(content).items()):
        right.plot(*zip(*curve, strict=True), label=name, color=f"C{i}")
    right.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="MOTAR")
    right.grid(alpha=0.3)
    right.legend(fontsize=8)
    overall = content["overall"]
    figure.suptitle(
        f"{content['title']}:  AMOTA {_text('amota', overall['amota'])}   "
        f"AMOTP {_text('amotp', overall['amotp'])}   MOTA {_text('mota', overall['mota'])}   "
        f"IDS {_text('ids', overall['ids'])}"
    )
    figure.savefig(file, format="png", dpi=110)
