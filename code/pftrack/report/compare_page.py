"""The page of a comparison: HTML from the template beside this file, and JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pftrack.evaluation.analysis import TrackEvent
from pftrack.evaluation.run import Evaluation
from pftrack.files import atomic, write_json
from pftrack.report.charts import FrameViews
from pftrack.report.content import without_nan
from pftrack.report.pages import template_environment

_DRAWN = 12  # objects with pictures, of each file


def write_comparison(
    content: dict[str, Any],
    evaluations: list[Evaluation],
    results: list[Path],
    title: str,
    out_dir: Path,
) -> dict[str, Path]:
    """Write ``compare.html`` and ``compare.json``.

    Args:
        content: of :func:`pftrack.evaluation.comparison.compare`.
        evaluations, results: of its files, in the same order.

    Returns:
        the two paths by suffix.
    """
    content = without_nan({"title": title, "results": list(map(str, results)), **content})
    paths = {kind: out_dir / f"compare.{kind}" for kind in ("html", "json")}
    template = template_environment().get_template("compare.html.j2")
    page = template.render(**content, pictures=_pictures(content, evaluations))
    write_json(paths["json"], content)
    with atomic(paths["html"]) as file:
        file.write(page)
    return paths


def _pictures(content: dict[str, Any], evaluations: list[Evaluation]) -> list[list[dict]]:
    """Per file but the first: the objects that differ most, with a view of each file."""
    views = [FrameViews(evaluation) for evaluation in evaluations]
    shown = []
    for table in content["objects"]:
        most = sorted(table["changes"], key=lambda change: -abs(change["change"]))[:_DRAWN]
        shown.append(
            [
                {
                    **change,
                    "views": [
                        view.draw(_event(change, track, evaluations[0]))
                        for view, track in zip(views, change["tracks"], strict=True)
                    ],
                }
                for change in most
            ]
        )
    return shown


def _event(change: dict[str, Any], track: str, evaluation: Evaluation) -> TrackEvent:
    return TrackEvent(
        kind="tracked" if track else "missed",
        class_name=change["class_name"],
        scene=change["scene"],
        step=change["step"],
        frame=change["frame"],
        sample_token=evaluation.frames.sample_tokens[change["frame"]],
        object_id=change["object_id"],
        before=track,
        after="",
        x=change["x"],
        y=change["y"],
        distance=0.0,
    )
