"""Evaluate the published checkpoints and compare with the published numbers."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse

import projects.tracking_plugin  # noqa: F401, compatibility first
from projects.tracking_plugin.errors import run_cli


def main() -> int:
    from projects.tracking_plugin.checkpoints import manifest
    from projects.tracking_plugin.inference import commands

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="names or kinds of checkpoints, separated by commas")
    parser.add_argument("--manifest", type=Path, default=manifest.MANIFEST)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/reproduce"))
    commands.add_job_options(parser)
    args = parser.parse_args()

    from projects.tracking_plugin.checkpoints.fit import CODE
    from projects.tracking_plugin.inference.reproduce import (
        comparison_table,
        published_trackers,
        reproduce,
    )

    files = manifest.load_manifest(args.manifest).select(args.only.split(",") if args.only else [])

    def evaluate(file: manifest.PublishedFile, checkpoint: Path) -> dict:
        print(f"\n{file.name}: {file.config}", flush=True)
        work_dir = args.work_dir / file.name
        job = commands.make_job(args, CODE / str(file.config), checkpoint)
        run = commands.run_job(job, args, work_dir)
        return commands.evaluate_and_report(
            run.result_path, run.data_root, run.version, args.split, work_dir
        )

    trackers = published_trackers(files, args.split)
    rows = reproduce(trackers, args.manifest.resolve().parent, evaluate)
    print("\n" + comparison_table(rows))
    return int(any(row.passed is False for row in rows))


if __name__ == "__main__":
    run_cli(main)
