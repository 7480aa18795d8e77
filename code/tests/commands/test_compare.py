"""The command ``compare``: page, JSON, and what it refuses."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from laboratory.random_scenes import RandomScenesConfig, write_random_scenes
from pftrack.commands import compare
from pftrack.errors import run_cli

VERSION = "v1.0-mini"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["compare", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        run_cli(compare.main)
    return end.value.code


class Balance(HTMLParser):
    """Open tags, and what figures and table cells say."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.figures = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.figures += tag == "figure"
        if tag not in ("meta", "br", "path", "circle", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "circle", "rect"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_page_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes = RandomScenesConfig(("scene-0103", "scene-0916"), frames=6)
    first = write_random_scenes(tmp_path, VERSION, scenes, 3)
    content = json.loads(first.read_text())
    for boxes in content["results"].values():
        boxes[:] = [{**box, "tracking_id": f"<b>{box['tracking_id']}</b>"} for box in boxes[::2]]
    second = tmp_path / "half of & <it>.json"
    second.write_text(json.dumps(content))
    usual = ("--dataroot", tmp_path, "--version", VERSION, "--draws", 20)
    assert run(monkeypatch, first, second, *usual) == 0
    out = capsys.readouterr().out
    assert "B: half of & <it>.json" in out and "AMOTA" in out

    written = json.loads((tmp_path / "compare" / "compare.json").read_text())
    assert {row["metric"]: row for row in written["metrics"]}["recall"]["values"][1] < 1
    assert len(written["by_scene"]) == 2 and len(written["objects"][0]["changes"]) > 0
    page = Balance()
    page.feed((tmp_path / "compare" / "compare.html").read_text())
    assert page.open == [] and page.figures >= 2
    assert any("half of & <it>.json" in text for text in page.text)
    assert not any("<b>" in text and "NaN" in text for text in page.text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.json",), "1 results file(s): a comparison takes 2 to 8"),
        (("a.json", "b.json"), "no results file a.json"),
        (("a.json", "b.json", "--draws", 0), "--draws: a whole number from 1 to 100000"),
    ],
)
def test_one_line_for_a_mistake(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[object, ...],
    message: str,
) -> None:
    assert run(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
