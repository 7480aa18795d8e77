"""Evaluate the published checkpoints and compare with the published numbers."""

from __future__ import annotations

from pathlib import Path

from pftrack.arguments import Parser


def main() -> int:
    from pftrack.checkpoints import manifest
    from pftrack.commands import shared as commands

    parser = Parser(description=__doc__)
    parser.add_argument("--only", help="names or kinds of checkpoints, separated by commas")
    parser.add_argument("--manifest", type=Path, default=manifest.MANIFEST)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/reproduce"))
    commands.add_job_options(parser)
    args = parser.parse_args()

    from pftrack.commands.published import (
        comparison_table,
        published_trackers,
        reproduce,
    )
    from pftrack.paths import CODE

    files = manifest.load_manifest(args.manifest).select(args.only.split(",") if args.only else [])

    def evaluate(file: manifest.PublishedFile, checkpoint: Path) -> dict:
        print(f"\n{file.name}: {file.config}", flush=True)
        work_dir = args.work_dir / file.name
        job = commands.make_job(args, CODE / str(file.config), checkpoint)
        run = commands.run_job(job, args, work_dir)
        return commands.evaluate_and_report(
            run.result_path, run.data_root, run.version, run.split, work_dir, strict=True
        )

    trackers = published_trackers(files, args.split)
    rows = reproduce(trackers, args.manifest.resolve().parent, evaluate)
    print("\n" + comparison_table(rows))
    return int(any(row.passed is False for row in rows))
