"""Command lines, values of make's variables, and inputs that must not be refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

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
