"""What the cases of all formats are made with: draws, spoiled files, commands that read them."""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from laboratory.battery.cases.hostile import hostile
from laboratory.battery.values import BAD, BYTES, spoil_bytes
from laboratory.battery.worker import Case
from laboratory.battery.world import MINI, World

Main = Callable[[], int | None]
Draw = tuple[str, Any, float]  # field, bad value, place in 0..1
MISSING = "<missing>"


def draws(strategy: st.SearchStrategy[Any], count: int, number: int) -> list[Any]:
    """``count`` values of a strategy, the same for the same number."""
    found: list[Any] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return [found[i % len(found)] for i in range(count)]


def fields(kinds: dict[str, str]) -> st.SearchStrategy[Draw]:
    """One of the fields, a bad value for it (or MISSING), a place."""
    value = st.sampled_from(sorted(kinds)).flatmap(
        lambda name: st.tuples(st.just(name), st.one_of(BAD[kinds[name]], st.just(MISSING)))
    )
    return st.tuples(value, st.floats(0, 0.999)).map(lambda t: (*t[0], t[1]))


def put(content: Any, path: str, value: Any) -> None:
    """Set or remove what a dotted path leads to; numbers are positions."""
    *above, last = path.split(".")
    for part in above:
        content = content[int(part)] if isinstance(content, list) else content[part]
    key: Any = int(last) if isinstance(content, list) else last
    if isinstance(value, str) and value == MISSING:
        del content[key]
    else:
        content[key] = value


def command(name: str, *arguments: object) -> tuple[Main, list[str]]:
    """A command's ``main`` and its arguments."""
    main = importlib.import_module(f"pftrack.commands.{name}").main
    return main, [str(argument) for argument in arguments]


def show(value: Any) -> str:
    return f"{value!r:.60}"


class Maker:
    """Makes cases on one world.

    Args:
        scale: how many, 1 for all.
    """

    def __init__(self, world: World, number: int, scale: float) -> None:
        self.world, self.number, self.scale = world, number, scale

    def draws(self, strategy: st.SearchStrategy[Any], count: int, salt: int) -> list[Any]:
        return draws(strategy, max(2, round(count * self.scale)), self.number * 100 + salt)

    def texts(
        self, form: str, data: bytes, count: int, use: Callable[[Path, Path], Any], salt: int
    ) -> Iterator[Case]:
        """A file of text that is none, torn or of another kind; ``use(file, folder)`` reads it."""
        for how, at in self.draws(
            st.tuples(st.sampled_from(BYTES), st.floats(0, 0.999)), count, salt
        ):

            def run(folder: Path, how: str = how, at: float = at) -> tuple[Main, list[str]]:
                file = folder / "in" / f"{form}.json"
                spoiled = spoil_bytes(how, data, at)
                if spoiled is None:
                    file.mkdir(parents=True)
                else:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(spoiled)
                return use(file, folder)

            yield Case(form, f"{how} at {at:.2f}", run)

    def spoiled(
        self,
        form: str,
        content: Callable[[], Any],
        kinds: dict[str, str],
        count: int,
        use: Callable[[Path, Path], Any],
        salt: int,
        place: Callable[[Any, str, float], str] = lambda _content, name, _at: name,
    ) -> Iterator[Case]:
        """A JSON file with one bad value; ``place`` makes a path of a field and a number."""
        for name, value, at in self.draws(fields(kinds), count, salt):

            def run(
                folder: Path, name: str = name, value: Any = value, at: float = at
            ) -> tuple[Main, list[str]]:
                spoiled = copy.deepcopy(content())
                put(spoiled, place(spoiled, name, at), value)
                file = folder / "in" / f"{form}.json"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(spoiled))
                return use(file, folder)

            yield Case(form, f"{name} = {show(value)}", run)

    def pickles(
        self, form: str, data: bytes, use: Callable[[Path, Path], Any], count: int, salt: int
    ) -> Iterator[Case]:
        """Hostile pickles, and an honest one with a torn end or garbage."""
        yield from self.texts(form, data, max(2, count // 5), use, salt)
        for text, builder in self.draws(hostile(), count, salt + 1):

            def run(
                folder: Path, builder: Callable[[str], bytes] = builder
            ) -> tuple[Main, list[str]]:
                file = folder / "evil.pkl"
                file.write_bytes(builder(str(folder / "mark")))
                return use(file, folder)

            yield Case(form, text, run)

    # --- commands that read what is spoiled -------------------------------------------------------

    def evaluate(self, file: Path, folder: Path) -> tuple[Main, list[str]]:
        data = ("--dataroot", self.world.data, "--version", MINI, "--split", "mini_val")
        return command("evaluate", file, *data, "--out", folder / "out")

    def report(self, file: Path, folder: Path) -> tuple[Main, list[str]]:
        data = ("--dataroot", self.world.data, "--version", MINI, "--split", "mini_val")
        return command("report", file, *data, "--out", folder / "out")

    def video(self, file: Path, folder: Path) -> tuple[Main, list[str]]:
        data = ("--dataroot", self.world.data, "--infos", self.world.val_infos)
        return command(
            "make_video", file, *data, "--out", folder / "out", "--frames", 1, "--no-lidar",
            "--format", "png",
        )  # fmt: skip

    def dry_run(self, folder: Path, *more: object, infos: Path | None = None) -> Any:
        options = list(self.world.data_options)
        if infos is not None:
            options.append(f"data.train.ann_file={infos}")
        return command(
            "train", self.world.config, "--work-dir", folder / "out" / "run", "--device", "cpu",
            "--no-validate", "--dry-run", *more, "--cfg-options", *options,
        )  # fmt: skip

    def convert(self, folder: Path, table: str, data: bytes | None) -> tuple[Main, list[str]]:
        """The converter on the world's data with another table."""
        root = folder / "nuscenes"
        (root / MINI).mkdir(parents=True)
        (root / "samples").symlink_to(self.world.data / "samples")
        for source in (self.world.data / MINI).iterdir():
            if source.stem != table:
                (root / MINI / source.name).symlink_to(source)
            elif data is None:
                (root / MINI / source.name).mkdir()
            else:
                (root / MINI / source.name).write_bytes(data)
        return command(
            "create_data", "nuscenes-tracking", "--root-path", root, "--out-dir", folder / "out",
            "--version", MINI, "--forecasting", "--workers", 0,
        )  # fmt: skip
