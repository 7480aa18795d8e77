"""The whole story on generated data: dataset, infos, step one, step two, evaluation, report, video.

Every stage is a command that a user would type; it is printed before it runs. A stage that finished
is not run again, and training and inference continue where they stopped, so the demo can be
interrupted at any point and started again.
"""

from __future__ import annotations

from pathlib import Path

from pftrack.arguments import Parser, whole


def main() -> int:
    """Parse the command line, run the stages that are not done, print the table."""
    parser = Parser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/demo"), help="folder")
    parser.add_argument("--scenes", type=whole(2), default=10, help="scenes to generate (10)")
    parser.add_argument("--image-size", default="400x225", metavar="WxH", help="(400x225)")
    parser.add_argument(
        "--iterations", type=whole(1), default=40, help="of each training step (40)"
    )
    args = parser.parse_args()

    from pftrack.commands.demo_stages import run_demo

    run_demo(args.out, args.scenes, args.image_size, args.iterations)
    return 0
