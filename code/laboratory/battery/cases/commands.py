"""Command lines, values of make's variables, and inputs that must not be refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from laboratory.battery.cases.maker import Main, Maker, command
from laboratory.battery.worker import Case
from laboratory.battery.world import MINI


def command_lines(make: Maker) -> Iterator[Case]:
    from pftrack.commands.cli import COMMANDS

    names = [m.rpartition(".")[2] for m in COMMANDS.values() if m.startswith("pftrack.commands")]
    words = st.sampled_from(
        ["--nothing", "-q", "none.pth", "none.json", "none.py", "--gpus=-1", "--gpus=x",
         "--split=nothing", "--version=v9", "--scenes=-1", "--workers=-3", "--device=tpu",
         "--work-dir=", "--out=/dev/null/x", "--frames=0", "--fps=nan", "\udcff", "a\nb", "/",
         "--cfg-options=x", "--only=nothing", "--manifest=/nothing", "--seed=x", "'",
         "$(touch mark)"]
    )  # fmt: skip
    for name, arguments in make.draws(
        st.tuples(st.sampled_from(sorted(set(names))), st.lists(words, min_size=1, max_size=3)),
        110,
        120,
    ):
        if name in ("demo", "download_checkpoints") and not any(
            a.startswith("--") and ("nothing" in a or "-1" in a or "x" in a) for a in arguments
        ):
            continue

        def run(
            folder: Path, name: str = name, arguments: list[str] = arguments
        ) -> tuple[Main, list[str]]:
            os.chdir(folder)
            return command(name, *arguments)

        yield Case("command line", f"{name} {arguments}", run)


def numbers(make: Maker) -> Iterator[Case]:
    """A command that would work, but for one number."""
    table = (make.world.data / MINI / "scene.json").read_bytes()
    data = ("--dataroot", make.world.data, "--version", MINI)

    def compared(folder: Path) -> Any:
        other = folder / "other.json"
        other.write_bytes(make.world.results.read_bytes())
        files = (make.world.results, other)
        return command("compare", *files, *data, "--split", "mini_val", "--out", folder / "out")

    lines: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
        "video": (
            lambda f: make.video(make.world.results, f),
            ("--fps", "--frames", "--camera-width", "--min-score"),
        ),
        "convert": (lambda f: make.convert(f, "scene", table), ("--workers",)),
        "split": (
            lambda f: command("split", *data, "--out", f / "out" / "s.txt"),
            ("--first", "--random", "--seed"),
        ),
        "compare": (compared, ("--draws", "--seed")),
    }  # fmt: skip
    options = [(name, option) for name, (_, known) in lines.items() for option in known]
    values = st.sampled_from(["-1", "nan", "inf", "1e400", "1" + 12 * "0", "x", "", "0x10", "²"])
    for (name, option), value in make.draws(st.tuples(st.sampled_from(options), values), 40, 125):

        def run(
            folder: Path, name: str = name, option: str = option, value: str = value
        ) -> tuple[Main, list[str]]:
            main, arguments = lines[name][0](folder)
            return main, [*arguments, f"{option}={value}"]

        yield Case("number", f"{name} {option}={value}", run)


def shell(make: Maker) -> Iterator[Case]:
    from laboratory.battery.make_values import make_cases

    yield from make_cases(make.draws)


def good(make: Maker) -> Iterator[Case]:
    yield Case("good", "evaluate", lambda f: make.evaluate(make.world.results, f), good=True)
    yield Case("good", "detections", lambda f: make.evaluate(make.world.detections, f), good=True)
    yield Case("good", "report", lambda f: make.report(make.world.results, f), good=True)
    yield Case("good", "video", lambda f: make.video(make.world.results, f), good=True)
    yield Case("good", "dry run", lambda f: make.dry_run(f), good=True)
    yield Case(
        "good",
        "resume",
        lambda f: make.dry_run(f, "--resume-from", make.world.checkpoint),
        good=True,
    )
    yield Case(
        "good",
        "inspect",
        lambda f: command(
            "inspect_checkpoint", make.world.checkpoint, "--config", make.world.config
        ),
        good=True,
    )
    table = (make.world.data / MINI / "scene.json").read_bytes()
    yield Case("good", "convert", lambda f: make.convert(f, "scene", table), good=True)
