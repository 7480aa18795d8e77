"""The report says what the metrics say, in one file that needs nothing else."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pftrack.evaluation.analysis import range_breakdown, track_events
from pftrack.evaluation.config import load_tracking_config
from pftrack.evaluation.run import Evaluation
from pftrack.report import render
from pftrack.report.charts import line_chart
from pftrack.report.content import RunFacts
from pftrack.report.render import write_report

VOID = {"meta", "br", "path", "circle", "input", "link", "img"}


class Checker(HTMLParser):
    """Collects tag balance, outside addresses and the page's own anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.targets: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.targets.add(f"#{values['id']}")
        for name in ("href", "src"):
            if values.get(name):
                self.links.add(str(values[name]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_events_are_the_counted_ones(evaluation: Evaluation) -> None:
    events = track_events(evaluation)
    for name, result in evaluation.tracking.classes.items():
        if result.outcome is None:
            continue
        kinds = [e.kind for e in events if e.class_name == name]
        assert kinds.count("switch") == result.values["ids"]
        assert kinds.count("fragmentation") == result.values["frag"]
    assert any(e.kind == "switch" for e in events) and any(e.kind != "switch" for e in events)


def test_ranges_add_up(evaluation: Evaluation) -> None:
    rows = range_breakdown(evaluation)
    for name, result in evaluation.tracking.classes.items():
        mine = [row for row in rows if row["class"] == name]
        if mine:
            detected = sum(row["gt"] * row["recall"] for row in mine if row["gt"])
            assert sum(row["gt"] for row in mine) == result.values["gt"]
            assert detected == pytest.approx(result.values["tp"] + result.values["ids"])


def test_report_is_self_contained_and_valid(evaluation: Evaluation, tmp_path: Path) -> None:
    facts = RunFacts(
        title="checkpoint & <co>",
        result="results_nusc.json",
        version="v1.0-mini",
        split="val",
        published={"AMOTA": 0.408},
        frames=40,
        stage_seconds={"decode": 1.0, "backbone": 3.0},
        devices=["cpu"],
    )
    paths = write_report(evaluation, facts, tmp_path)
    html = paths["html"].read_text()
    page = Checker()
    page.feed(html)
    assert page.open == []
    frames = {link for link in page.links if link.startswith("#view=scene-")}
    assert len(frames) > 3 and page.links - frames <= page.targets
    assert "<co>" not in html and "</script><b>" not in html
    assert html.count("<script>") == html.count("</script>") - 2 == 1
    assert f"{evaluation.tracking.overall['amota']:.3f}" in html
    assert "10.00</b>" not in html and "10.00 frames/s" in html

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads(paths["json"].read_text(), parse_constant=refuse)
    assert content["published"][0]["measured"] == evaluation.tracking.overall["amota"]
    assert len(content["events"]) == len(track_events(evaluation))
    assert paths["png"].read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "report.html",
        "report.json",
        "report.png",
    ]


def test_report_of_results_without_any_box(evaluation: Evaluation, tmp_path: Path) -> None:
    """Nothing tracked, nothing known about the run: still a report."""
    from dataclasses import replace

    import numpy as np

    from pftrack.evaluation.tracking_metrics import evaluate_tracking

    empty = evaluation.pred.select(np.zeros(0, int))
    config = load_tracking_config()
    tracking = evaluate_tracking(evaluation.gt, empty, evaluation.frames, config)
    facts = RunFacts("title", "r.json", "v1.0-mini", "val")
    bare = replace(evaluation, pred=empty, tracking=tracking)
    html = write_report(bare, facts, tmp_path)["html"].read_text()
    assert "Not known for this results file" in html


def test_line_chart_leaves_gaps_out() -> None:
    svg = line_chart({"a": [(0.0, 0.5), (0.5, float("nan")), (1.0, 1.0)]}, "x", "y", 1.0)
    assert "nan" not in svg and svg.count('<path class="line') == 1


def test_larger_results_are_a_page_for_each_scene(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "SMALL", 39)
    facts = RunFacts("title", "r.json", "v1.0-mini", "val")
    pages = tmp_path / render.PAGES
    pages.mkdir()
    (pages / "scene-9999.html").write_text("of an earlier report")
    html = write_report(evaluation, facts, tmp_path)["html"].read_text()
    assert sorted(p.name for p in pages.iterdir()) == ["scene-0103.html", "scene-0916.html"]
    links = Checker()
    links.feed(html)
    outside = {link.split("#")[0] for link in links.links if not link.startswith("#")}
    assert outside == {"report_scenes/scene-0103.html", "report_scenes/scene-0916.html"}
    assert "data-scene=" not in html
    page = (pages / "scene-0103.html").read_text()
    assert 'data-scene="scene-0103"' in page and 'href="scene-0916.html"' in page

    monkeypatch.setattr(render, "SMALL", 40)  # in one page again
    write_report(evaluation, facts, tmp_path)
    assert not pages.exists()
