"""Write a generated nuScenes dataset (rendered cameras, lidar, annotations).

python tools/make_demo_data.py OUT [--scenes N] [--frames N] [--image-size WxH] [--seed N]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pftrack.arguments import MOST_PROCESSES, Parser, real, whole
from pftrack.errors import UserError, run_cli


def image_size(text: str) -> tuple[int, int]:
    """(width, height) of "800x450"."""
    width, separator, height = text.partition("x")
    if not (separator and width.isdigit() and height.isdigit()):
        raise UserError(f"--image-size is {text!r}: write WIDTHxHEIGHT, for example 800x450")
    return int(width), int(height)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="dataset root to create")
    parser.add_argument(
        "--scenes", type=whole(1), default=10, help="default 10: 8 to train, 2 to validate"
    )
    parser.add_argument(
        "--frames", type=whole(1), default=40, help="key frames a scene (default 40)"
    )
    parser.add_argument("--image-size", default="800x450", help="WxH in pixels (default 800x450)")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument(
        "--workers",
        type=whole(1, MOST_PROCESSES),
        default=len(os.sched_getaffinity(0)),
        help="default: all cores",
    )
    parser.add_argument("--version", help="v1.0-mini (default up to 10 scenes) or v1.0-trainval")
    parser.add_argument(
        "--visibility", type=real(1), metavar="METRES", help="fog (default: a clear day)"
    )
    parser.add_argument(
        "--contact-sheet", type=Path, metavar="FILE", help="also write a picture of a few frames"
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    size = image_size(arguments.image_size)
    sheet = arguments.contact_sheet
    if sheet and sheet.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise UserError(f"--contact-sheet is {sheet}: name a .jpg or .png file")
    from laboratory.demo_data import generate_dataset

    written = generate_dataset(
        arguments.out,
        arguments.scenes,
        arguments.frames,
        size,
        arguments.seed,
        arguments.workers,
        arguments.version,
        progress=True,
        visibility=arguments.visibility,
    )
    done = "written" if written else "already complete, nothing to do"
    print(f"{arguments.out}: {done}")
    if sheet:
        from laboratory.demo_data.contact_sheet import write_contact_sheet

        write_contact_sheet(arguments.out, sheet)
        print(f"{sheet}: written")


if __name__ == "__main__":
    run_cli(main)
