"""Make a split: scenes by place, night, rain, the first or a random number of them."""

from __future__ import annotations

import argparse
import random
from collections import Counter
from pathlib import Path
from typing import Any

from pftrack.arguments import Parser, whole
from pftrack.errors import UserError
from pftrack.files import atomic, write_json
from pftrack.nuscenes.splits import CUSTOM_FILE, own_splits, scenes_of_split
from pftrack.nuscenes.versions import SPLITS, TRAINVAL, version_folder


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__)
    to = parser.add_mutually_exclusive_group(required=True)
    to.add_argument("--out", type=Path, metavar="FILE.txt", help="a scene name a line")
    to.add_argument("--name", help=f"into {CUSTOM_FILE} of the version, which the devkit reads too")
    parser.add_argument("--dataroot", default="data/nuscenes", help="nuScenes' folder")
    parser.add_argument("--version", default=TRAINVAL)
    parser.add_argument("--of", default="all", help="split to choose from (all scenes there are)")
    parser.add_argument("--location", nargs="+", default=[], help="e.g. boston-seaport")
    for word in ("night", "rain"):
        parser.add_argument(
            f"--{word}",
            action=argparse.BooleanOptionalAction,
            help=f"descriptions that speak of {word}, or that do not",
        )
    number = parser.add_mutually_exclusive_group()
    number.add_argument("--first", type=whole(1), metavar="N", help="of them, by name")
    number.add_argument("--random", type=whole(1), metavar="N", help="of them, drawn with --seed")
    parser.add_argument("--seed", type=whole(0), default=0)
    args = parser.parse_args()
    if args.out is not None and args.out.suffix != ".txt":
        raise UserError(f"--out {args.out}: the name must end in .txt")
    if args.name is not None and (
        not args.name.isidentifier() or any(args.name in names for names in SPLITS.values())
    ):
        raise UserError(
            f"--name {args.name}: letters, digits and _ make a name, and no official split's"
        )
    return args


def main() -> int:
    args = parse_args()
    folder = version_folder(args.dataroot, args.version)
    scenes = _read_scenes(folder)
    if args.of != "all":
        among = set(scenes_of_split(args.dataroot, args.version, args.of))
        scenes = [scene for scene in scenes if scene["name"] in among]
    chosen = choose(scenes, args)
    names = [scene["name"] for scene in chosen]
    if args.out is not None:
        with atomic(args.out) as file:
            file.write("".join(f"{name}\n" for name in names))
        where = f"{args.out}: SPLIT={args.out}"
    else:
        splits = own_splits(args.dataroot, args.version)
        write_json(folder / CUSTOM_FILE, {**splits, args.name: names})
        where = f"{folder / CUSTOM_FILE}: SPLIT={args.name}"
    places = Counter(scene["location"] for scene in chosen)
    told = ", ".join(f"{count} {place}" for place, count in sorted(places.items()))
    frames = sum(scene["frames"] for scene in chosen)
    print(f"{len(names)} of {len(scenes)} scenes, {frames} key frames ({told})\n{where}")
    return 0


def _read_scenes(folder: Path) -> list[dict[str, Any]]:
    """Name, description, location and number of key frames of every scene, by name."""
    from pftrack.nuscenes.tables import read_columns

    logs = read_columns(folder, "log", ("token", "location"))
    place = dict(zip(logs["token"].tolist(), logs["location"], strict=True))
    table = read_columns(folder, "scene", ("name", "description", "log_token", "nbr_samples"))
    rows = zip(*(list(column) for column in table.values()), strict=True)
    scenes = [
        {
            "name": name,
            "description": description.lower(),
            "location": place.get(log, "unknown"),
            "frames": int(frames),
        }
        for name, description, log, frames in rows
    ]
    return sorted(scenes, key=lambda scene: scene["name"])


def choose(scenes: list[dict[str, Any]], args: argparse.Namespace) -> list[dict[str, Any]]:
    """The scenes that the options ask for, in order of their names.

    Raises:
        UserError: none, fewer than the number asked for, or a location that there is not.
    """
    places = {scene["location"] for scene in scenes}
    if wrong := [place for place in args.location if place not in places]:
        raise UserError(
            f"--location {wrong[0]}: no scene is there; there are {', '.join(sorted(places))}"
        )
    chosen = [
        scene
        for scene in scenes
        if (not args.location or scene["location"] in args.location)
        and all(
            getattr(args, word) in (None, word in scene["description"])
            for word in ("night", "rain")
        )
    ]
    if not chosen:
        raise UserError(f"none of the {len(scenes)} scenes is so: loosen the conditions")
    wanted = args.first if args.first is not None else args.random
    if wanted is None:
        return chosen
    if not 1 <= wanted <= len(chosen):
        raise UserError(f"{wanted} scenes asked for: there are {len(chosen)} such scenes")
    if args.first is not None:
        return chosen[:wanted]
    drawn = random.Random(args.seed).sample(chosen, wanted)
    return sorted(drawn, key=lambda scene: scene["name"])
