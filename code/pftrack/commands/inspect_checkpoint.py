"""Say what is inside a checkpoint: model and configuration, epoch, weights, differences."""

from __future__ import annotations

import json

from pftrack.arguments import Parser


def main() -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", help="absolute, relative, or below checkpoints/")
    parser.add_argument("--config", help="compare with this configuration instead of all of them")
    parser.add_argument("--against", metavar="CKPT", help="another checkpoint to compare with")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    args = parser.parse_args()

    from pftrack.checkpoints.inspect import inspect_checkpoint, render

    info = inspect_checkpoint(args.checkpoint, args.config, args.against)
    print(json.dumps(info, indent=2) if args.json else render(info))
    return 0
