"""The explorer in a browser: slider, clicks, filter and keys work; nothing fails or goes out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import EXECUTABLE, Browser

from pftrack.evaluation.run import Evaluation, evaluate_file
from pftrack.report.content import RunFacts
from pftrack.report.render import write_report
from pftrack.visualization.scenes import load_split

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium here to open a page with"),
]
STATE = "document.querySelector('.explorer').explorer"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    facts = RunFacts("a report", "r.json", "v1.0-mini", "val")
    out = tmp_path_factory.mktemp("report")
    return write_report(evaluation, facts, out, before=evaluation)["html"]


def part(name: str) -> str:
    return f"document.querySelector('[data-part={name}]')"


def middle(browser: Browser, element: str) -> tuple[float, float]:
    """The middle of an element, which is brought into the window."""
    browser.run(f"{element}.scrollIntoView({{block: 'center'}})")
    box = browser.run(f"(b => [b.x, b.y, b.width, b.height])({element}.getBoundingClientRect())")
    return box[0] + box[2] / 2, box[1] + box[3] / 2


@pytest.mark.parametrize("width", [1280, 390])
def test_explorer_answers(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width, 800)
    browser.next_frame()
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(f"{part('clock')}.textContent").startswith("frame 1 of 20, 0.0 s")

    browser.click(*middle(browser, part("slider")))
    browser.next_frame()
    assert abs(browser.run(f"{STATE}.time") - 9.5) <= 1
    before = browser.run(f"Math.round({STATE}.time)")
    browser.press("ArrowRight")
    browser.next_frame()
    assert browser.run(f"Math.round({STATE}.time)") == before + 1

    # A click on a track's middle chooses it, or one that lies as near.
    x, y = middle(browser, part("view"))
    browser.run(
        f"(e => {{ const b = e.scene.tracks.find(t => t.at(e.time)).at(e.time);"
        f" e.view.center = {{x: b.x, y: b.y}}; e.changed() }})({STATE})"
    )
    browser.next_frame()
    browser.click(x, y)
    browser.next_frame()
    chosen = browser.run(f"(s => s && [s.kind, s.number, s.id])({STATE}.selected)")
    assert chosen[0] == "track"
    assert chosen[2] in browser.run(f"{part('details')}.textContent")
    assert browser.run(f"{part('details')}.querySelectorAll('svg').length") == 2

    browser.press("Escape")
    browser.next_frame()
    assert browser.run(f"{STATE}.selected") is None

    # The filter by class: counts, failures.
    browser.run(
        f"(s => {{ s.value = 'car'; s.dispatchEvent(new Event('change')) }})({part('class')})"
    )
    browser.next_frame()
    cars = browser.run(
        f"(e => e.scene.tracks.filter(t => t.class === 'car' && t.row.has(Math.round(e.time)))"
        f".length)({STATE})"
    )
    assert browser.run(f"{part('count')}.textContent").startswith(f"{cars} tracks")
    listed = browser.run(f"[...{part('failures')}.children].map(li => li.textContent)")
    assert listed and all("car" in line for line in listed)

    # A failure leads to its frame and object.
    browser.click(*middle(browser, f"{part('failures')}.querySelector('button')"))
    browser.next_frame()
    assert browser.run(f"{STATE}.selected !== null && {STATE}.selected.class") == "car"
    assert browser.problems == []


def test_layers_change_the_picture(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 800)
    picture = f"{part('view')}.toDataURL()"
    for layer in ("truth", "tracks", "before", "histories", "forecasts", "labels"):
        browser.run(f"{STATE}.go(12)")
        browser.next_frame()
        before = browser.run(picture)
        box = f"document.querySelector('.layers input[value={layer}]')"
        browser.click(*middle(browser, box))
        browser.next_frame()
        assert browser.run(picture) != before, layer
        browser.click(*middle(browser, box))
        browser.next_frame()
        assert browser.run(picture) == before, layer
    assert browser.run("document.querySelector('.layers input[value=lidar]').parentElement.hidden")


def test_labels_do_not_cover_each_other(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 800)
    browser.next_frame()
    drawn = browser.run(
        "(e => { const view = e.view; view.labelled = new Map(); const texts = [];"
        " const write = view.context.fillText; view.context.fillText = (t) => texts.push(t);"
        " const at = (x, y) => ({ x: view.mid.x + x, y: view.mid.y + y });"
        " view.label('1', at(0, 0)); view.label('2', at(0.1, 0.1)); view.label('3', at(0, 20));"
        " view.label('4', at(0.1, 0.1), true);"
        f" view.context.fillText = write; return texts; }})({STATE})"
    )
    assert drawn == ["1", "3", "4"]


def test_link_of_a_switch_opens_its_frame(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 800)
    links = "[...document.querySelectorAll('#events td a')]"
    link = f"{links}.find(a => a.hash.includes('0916'))"
    x, y = middle(browser, link)
    scene, step = browser.run(f"{link}.textContent").split(" · ")
    browser.click(x, y)
    browser.next_frame()
    browser.next_frame()
    assert browser.run(f"{STATE}.scene.name") == scene == "scene-0916"
    assert browser.run(f"{STATE}.time") == int(step)
    assert browser.run(f"{STATE}.selected.kind") == "object"


def test_playing_moves_between_frames_and_stops_at_the_end(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 800)
    browser.run(f"{STATE}.go(18.5)")
    browser.click(*middle(browser, part("play")))
    browser.run(
        f"new Promise(done => {{ const look = () => {STATE}.playing ?"
        " requestAnimationFrame(look) : done(1); look() })"
    )
    assert browser.run(f"{STATE}.time") == 19
    assert browser.run(f"{part('play')}.textContent") == "Play"


def test_cameras_and_lidar_are_shown_where_they_are_known(
    browser: Browser, demo_data: Path, demo_infos: dict[str, Path], tmp_path: Path
) -> None:
    scenes = load_split(demo_data, "v1.0-mini")
    result = tmp_path / "results.json"
    empty: dict[str, list] = {token: [] for scene in scenes for token in scene.tokens}
    result.write_text(json.dumps({"meta": {}, "results": empty}))
    evaluation = evaluate_file(result, demo_data, "v1.0-mini", "mini_val")
    facts = RunFacts("nothing found", "r.json", "v1.0-mini", "mini_val")
    sensors = {scene.name: scene for scene in scenes}
    browser.open(write_report(evaluation, facts, tmp_path, sensors=sensors)["html"], 1280, 900)
    browser.run(f"{STATE}.go(3)")
    browser.next_frame()
    loaded = (
        "Promise.all([...document.querySelectorAll('.cameras img')].map(i => i.decode()"
        ".then(() => i.naturalWidth)))"
    )
    assert browser.run(loaded) == [320] * 6
    drawn = browser.run(
        "[...document.querySelectorAll('.cameras canvas')].reduce((n, c) => n + c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v).length, 0)"
    )
    assert drawn > 200  # outlines of what was missed
    assert browser.run(f"{STATE}.scene.lidar(3).length") > 200
    # Between two key frames nothing moves in the images, and nothing is drawn over them anew.
    browser.run(
        f"(e => {{ const draw = e.cameras.overlay; window.overlays = 0;"
        f" e.cameras.overlay = function (...all) {{ window.overlays++; draw.apply(this, all); }};"
        f" }})({STATE})"
    )
    for time, count in ((3.2, 0), (3.4, 0), (4, 6)):
        browser.run(f"{STATE}.go({time})")
        browser.next_frame()
        assert browser.run("window.overlays") == count
    # While it plays, each drawing has one camera follow; when it stops, the others do.
    counts = browser.run(
        f"(e => {{ window.overlays = 0; e.time = 5; return [true, true, false, false].map((on) =>"
        f" {{ e.playing = on; e.cameras.draw(); return window.overlays; }}); }})({STATE})"
    )
    assert counts == [1, 2, 6, 6]
    hidden = "document.querySelector('.layers input[value=lidar]').parentElement.hidden"
    assert browser.run(hidden) is False
    assert browser.problems == []


def test_nothing_in_a_results_file_becomes_markup_or_runs(browser: Browser, page: Path) -> None:
    """Names that close script elements are text; a script that got in would not be run."""
    browser.open(page, 1280, 800)
    assert "</script><b>" in browser.run(f"{STATE}.scene.tracks[0].id")
    browser.run(f"{STATE}.select({STATE}.scene.tracks[0])")
    assert browser.run("document.querySelectorAll('.details b, .failures b').length") == 0
    browser.run(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.ran = 1'}))"
    )
    assert browser.run("window.ran === undefined")
    assert any("Content Security Policy" in problem for problem in browser.problems)
    browser.problems.clear()
