"""Splits, and recordings in the formats that ``pftrack import`` reads."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from laboratory.battery.cases.maker import MISSING, Main, Maker, command, show
from laboratory.battery.worker import Case
from laboratory.battery.world import MINI

# What is no number of a table of texts; where a text may be anything but empty.
_NO_NUMBER = ("", "x", "nan", "inf", "-inf", "1e400", "1,5", "--1", "0x10", "1 2", "\0")


def splits(make: Maker) -> Iterator[Case]:
    """Files of scene names, for metrics, trainings and other splits."""
    scene = make.world.robot_scenes[0]

    def evaluate(file: Path, folder: Path) -> tuple[Main, list[str]]:
        main, arguments = make.evaluate(make.world.results, folder)
        at = arguments.index("--split") + 1
        return main, [*arguments[:at], str(file), *arguments[at + 1 :]]

    def train(file: Path, folder: Path) -> tuple[Main, list[str]]:
        main, arguments = make.dry_run(folder)
        return main, [*arguments, f"data.train.split={file}"]

    def choose(file: Path, folder: Path) -> tuple[Main, list[str]]:
        data = ("--dataroot", make.world.data, "--version", MINI)
        return command("split", *data, "--of", file, "--out", folder / "out" / "mine.txt")

    texts = {
        "another data set's": "scene-9999\n",
        "twice": f"{scene}\n{scene}\n",
        "comments alone": "# night\n\n  # rain\n",
        "a path": "../../etc/passwd\n",
        "commas": f"{scene},{scene}\n",
    }
    for n, use in enumerate((evaluate, train, choose)):
        for name, text in texts.items():

            def run(
                folder: Path, text: str = text, use: Callable[[Path, Path], Any] = use
            ) -> tuple[Main, list[str]]:
                (folder / "split.txt").write_text(text)
                return use(folder / "split.txt", folder)

            yield Case("split", f"{use.__name__}: {name}", run)

        def read(
            file: Path, folder: Path, use: Callable[[Path, Path], Any] = use
        ) -> tuple[Main, list[str]]:
            return use(file.rename(folder / "split.txt"), folder)

        yield from make.texts("split", f"{scene}\n".encode(), 8, read, 130 + n)


def import_data(
    form: str, source: object, folder: Path, *options: object
) -> tuple[Main, list[str]]:
    return command("import_data", form, source, folder / "out" / "own", *options)


def _robot(make: Maker, folder: Path) -> Path:
    """A copy of the robot's recording, to be spoiled."""
    name = make.world.robot_scenes[0]
    shutil.copytree(make.world.robot / name, folder / "robot" / name)
    return folder / "robot" / name


def calibrations(make: Maker) -> Iterator[Case]:
    """``calibration.json`` of the folder format."""
    content = json.loads(
        (make.world.robot / make.world.robot_scenes[0] / "calibration.json").read_text()
    )
    camera = "cameras.CAM_FRONT"
    kinds = {
        "cameras": "dict", camera: "dict", f"{camera}.intrinsic": "vec3",
        f"{camera}.rotation": "quaternion", f"{camera}.translation": "vec3",
        "location": "text", "description": "text",
    }  # fmt: skip

    def use(file: Path, folder: Path) -> tuple[Main, list[str]]:
        target = _robot(make, folder) / "calibration.json"
        target.unlink()
        file.rename(target)
        return import_data("folder", folder / "robot", folder)

    full = {"location": "yard", "description": "", **content}
    cases = make.spoiled("calibration", lambda: full, kinds, 60, use, 140)
    optional = {f"{name} = {MISSING!r}" for name in ("location", "description")}
    yield from (case for case in cases if case.name not in optional)
    yield from make.texts("calibration", json.dumps(content).encode(), 10, use, 141)


def csv_files(make: Maker) -> Iterator[Case]:
    """``poses.csv`` and ``boxes.csv`` of the folder format, cell by cell."""
    numbers = {
        "poses.csv": ("time", "x", "y", "z", "qw", "qx", "qy", "qz"),
        "boxes.csv": ("x", "y", "z", "width", "length", "height", "yaw", "points"),
    }
    texts = {"poses.csv": ("frame",), "boxes.csv": ("frame", "id", "class")}
    cells = [(file, c, v) for file, names in numbers.items() for c in names for v in _NO_NUMBER]
    cells += [
        (file, c, v) for file, names in texts.items() for c in names for v in ("", "\0" * 300)
    ]
    cells += [("boxes.csv", "class", v) for v in ("tram", "CAR", "vehicle.car")]
    cells += [("poses.csv", "frame", v) for v in ("../x", "/etc/passwd", "a/b")]
    draw = st.tuples(st.sampled_from(cells), st.floats(0, 0.999))
    for (file, column, value), at in make.draws(draw, 60, 142):

        def run(
            folder: Path, file: str = file, column: str = column, value: str = value, at: float = at
        ) -> tuple[Main, list[str]]:
            path = _robot(make, folder) / file
            rows = list(csv.reader(path.read_text().splitlines()))
            row = rows[1 + int(at * (len(rows) - 1))]
            row[rows[0].index(column)] = value
            # Written as people write: a comma in a number makes one cell more.
            path.write_text("\n".join(",".join(cells) for cells in rows) + "\n")
            return import_data("folder", folder / "robot", folder)

        yield Case("csv", f"{file} {column} = {show(value)}", run)
    for n, file in enumerate(numbers):
        data = (make.world.robot / make.world.robot_scenes[0] / file).read_bytes()

        def use(spoiled: Path, folder: Path, file: str = file) -> tuple[Main, list[str]]:
            target = _robot(make, folder) / file
            target.unlink()
            spoiled.rename(target)
            return import_data("folder", folder / "robot", folder)

        # Of boxes torn between two lines the rest is a table, too; of poses, where the last number
        # has lost digits.
        last = ("torn at 0.96", "torn at 0.97", "torn at 0.98", "torn at 0.99", "torn at 1")
        whole = "torn" if file == "boxes.csv" else last
        cases = make.texts("csv", data, 10, use, 143 + n)
        yield from (c for c in cases if not c.name.startswith(whole))


def recordings(make: Maker) -> Iterator[Case]:
    """Units, names and frames of reference of a whole recording."""

    def calibration(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
        def edit(folder: Path) -> None:
            path = folder / "calibration.json"
            content = json.loads(path.read_text())
            change(content["cameras"])
            path.write_text(json.dumps(content))

        return edit

    def column(file: str, names: str, change: Callable[[float], float]) -> Callable[[Path], None]:
        def edit(folder: Path) -> None:
            rows = list(csv.reader((folder / file).read_text().splitlines()))
            for name in names.split():
                at = rows[0].index(name)
                for row in rows[1:]:
                    row[at] = repr(change(float(row[at])))
            with (folder / file).open("w", newline="") as stream:
                csv.writer(stream).writerows(rows)

        return edit

    def twice(folder: Path) -> None:
        path = folder / "calibration.json"
        path.write_text(path.read_text().replace('"CAM_BACK"', '"CAM_FRONT"', 1))

    def millimetres(cameras: dict[str, Any]) -> None:
        for camera in cameras.values():
            camera["translation"] = [1000 * v for v in camera["translation"]]

    def inverted(cameras: dict[str, Any]) -> None:
        for camera in cameras.values():
            w, x, y, z = camera["rotation"]
            camera["rotation"] = [w, -x, -y, -z]

    def relative(cameras: dict[str, Any]) -> None:
        for camera in cameras.values():
            camera["intrinsic"] = [[v / 1000 for v in row] for row in camera["intrinsic"][:2]] + [
                [0, 0, 1]
            ]

    def thirteen(cameras: dict[str, Any]) -> None:
        cameras |= {f"more{i}": cameras["CAM_FRONT"] for i in range(13)}

    changes: dict[str, Callable[[Path], object]] = {
        "unknown camera": lambda f: (f / "images" / "CAM_BACK").rename(f / "images" / "rear"),
        "two cameras of one name": twice,
        "thirteen cameras": calibration(thirteen),
        "no camera": calibration(lambda cameras: cameras.clear()),
        "mounts in mm": calibration(millimetres),
        "mounts the other way round": calibration(inverted),
        "relative intrinsics": calibration(relative),
        "poses in mm": column("poses.csv", "x y z", lambda v: 1000 * v),
        "times in ms": column("poses.csv", "time", lambda v: 1000 * v),
        "times in ns": column("poses.csv", "time", lambda v: 1e9 * v),
        "times at 10 Hz": column("poses.csv", "time", lambda v: 1.5e9 + (v - 1.5e9) / 5),
        "time stands still": column("poses.csv", "time", lambda _v: 7.0),
        "no rotation": column("poses.csv", "qw qx qy qz", lambda _v: 0.0),
        "boxes in mm": column("boxes.csv", "width length height", lambda v: 1000 * v),
        "degrees": column("boxes.csv", "yaw", lambda v: 90 + v),
        "boxes of the vehicle's frame": column("boxes.csv", "x y", lambda v: v - 9000),
        "flat boxes": column("boxes.csv", "height", lambda _v: 0.0),
        "negative points": column("boxes.csv", "points", lambda _v: -1),
        "no images": lambda f: shutil.rmtree(f / "images"),
        "no poses": lambda f: (f / "poses.csv").unlink(),
        "images of text": lambda f: [p.write_text("x") for p in f.glob("images/*/*.jpg")],
        "another class in mid-scene": lambda f: (f / "boxes.csv").write_text(
            _second_class((f / "boxes.csv").read_text())
        ),
    }
    for name, change in changes.items():

        def run(folder: Path, change: Callable[[Path], object] = change) -> tuple[Main, list[str]]:
            change(_robot(make, folder))
            return import_data("folder", folder / "robot", folder)

        yield Case("recording", name, run)
    robot = make.world.robot
    asked: dict[str, tuple[object, ...]] = {
        "none to evaluate": (robot, "--val", "x"),
        "every 0": (robot, "--every", 0),
        "every x": (robot, "--every", "x"),
        "source: nothing": ("none",),
        "source: a file": (robot / make.world.robot_scenes[0] / "poses.csv",),
        "source: no recording": (robot / make.world.robot_scenes[0],),
    }
    for name, (source, *options) in asked.items():

        def ask(
            folder: Path, source: object = source, options: Sequence[object] = options
        ) -> tuple[Main, list[str]]:
            return import_data("folder", source, folder, *options)

        yield Case("recording", name, ask)


def _second_class(text: str) -> str:
    """Boxes of which one object is something else from its second frame on."""
    rows = list(csv.reader(text.splitlines()))
    seen: set[str] = set()
    for row in rows[1:]:
        if row[1] in seen:
            row[2] = "bus" if row[2] != "bus" else "car"
            break
        seen.add(row[1])
    return "\n".join(",".join(row) for row in rows) + "\n"


def good(make: Maker) -> Iterator[Case]:
    """What must not be refused."""

    def split(folder: Path) -> tuple[Main, list[str]]:
        (folder / "mine.txt").write_text("\ufeff# mine\r\n" + make.world.robot_scenes[0] + "\r\n")
        data = ("--dataroot", make.world.data, "--version", MINI)
        return command(
            "split", *data, "--of", folder / "mine.txt", "--out", folder / "out" / "a.txt"
        )

    yield Case("good", "split", split, good=True)
    world = make.world
    yield Case("good", "import folder", lambda f: import_data("folder", world.robot, f), good=True)
    kitti = world.kitti
    yield Case(
        "good", "import kitti", lambda f: import_data("kitti", kitti, f, "--every", 5), good=True
    )
    if world.argoverse.is_dir():
        yield Case(
            "good",
            "import argoverse",
            lambda f: import_data("argoverse", world.argoverse, f, "--every", 5),
            good=True,
        )
