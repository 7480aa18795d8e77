"""Say what is inside a checkpoint: model and configuration, epoch, weights, differences."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import json

from projects.tracking_plugin.errors import run_cli


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="absolute, relative, or below checkpoints/")
    parser.add_argument("--config", help="compare with this configuration instead of all of them")
    parser.add_argument("--against", metavar="CKPT", help="another checkpoint to compare with")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    args = parser.parse_args()

    from projects.tracking_plugin.checkpoints.inspect import inspect_checkpoint, render

    info = inspect_checkpoint(args.checkpoint, args.config, args.against)
    print(json.dumps(info, indent=2) if args.json else render(info))
    return 0


if __name__ == "__main__":
    run_cli(main)
