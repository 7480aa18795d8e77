"""A training checkpoint without what only resuming needs: weights and meta, ready to hand on.

python -m pftrack.training.export CHECKPOINT OUT [--without MODULE ...]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pftrack.arguments import Parser
from pftrack.errors import UserError, run_cli


def export_weights(source: Path, target: Path, without: Sequence[str] = ()) -> int:
    """Write the weights and meta of ``source`` to ``target``; returns its size in bytes.

    Args:
        without: modules to leave out (``STReasoner.future_reg``); a training that starts from
            ``target`` initialises them anew.

    Raises:
        UserError: ``source`` is no checkpoint or has no such module, or ``target`` cannot be
            written.
    """
    from pftrack.checkpoints.reading import load_checkpoint_file
    from pftrack.training.checkpoint import save_atomically

    content = load_checkpoint_file(source)
    weights = content["state_dict"]
    for module in without:
        entries = [key for key in weights if key.startswith(f"{module}.")]
        if not entries:
            raise UserError(f"{source}: --without {module}: it has no weights of such a module")
        for key in entries:
            del weights[key]
    target.parent.mkdir(parents=True, exist_ok=True)
    save_atomically({"meta": content["meta"], "state_dict": weights}, target)
    return target.stat().st_size


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="MODULE", help="modules to leave out"
    )
    args = parser.parse_args()
    size = export_weights(args.checkpoint, args.out, args.without)
    print(f"{args.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_cli(main)
