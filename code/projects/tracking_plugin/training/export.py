"""A training checkpoint without what only resuming needs: weights and meta, ready to hand on.

python -m projects.tracking_plugin.training.export CHECKPOINT OUT
"""

from __future__ import annotations

import argparse
from pathlib import Path

from projects.tracking_plugin.errors import run_cli


def export_weights(source: Path, target: Path) -> int:
    """Write the weights and meta of ``source`` to ``target``; returns its size in bytes.

    Raises:
        UserError: ``source`` is no checkpoint, or ``target`` cannot be written.
    """
    from projects.tracking_plugin.models.checkpoint_io import load_checkpoint_file
    from projects.tracking_plugin.training.checkpoint import save_atomically

    content = load_checkpoint_file(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_atomically({key: content[key] for key in ("meta", "state_dict")}, target)
    return target.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    print(f"{args.out}: {export_weights(args.checkpoint, args.out) / 1e6:.1f} MB")


if __name__ == "__main__":
    run_cli(main)
