"""Options of the original's command lines that have nothing to do here: accepted with a remark."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

_GPUS = "CUDA_VISIBLE_DEVICES chooses GPUs, tools/dist_train.sh CONFIG N takes N of them"
_TRAINING: dict[str, tuple[str | int, str]] = {
    "--launcher": (1, "torchrun is recognised by itself; tools/dist_train.sh starts it"),
    "--local_rank": (1, "torchrun says it in a variable"),
    "--local-rank": (1, "torchrun says it in a variable"),
    "--gpus": (1, _GPUS),
    "--gpu-ids": ("+", _GPUS),
    "--gpu-id": (1, _GPUS),
    "--autoscale-lr": (0, "state optimizer.lr"),
}
_TRACKING: dict[str, tuple[str | int, str]] = {
    "--launcher": (1, "--gpus N takes N GPUs in this one command"),
    "--local_rank": (1, "--gpus N takes N GPUs in this one command"),
    "--local-rank": (1, "--gpus N takes N GPUs in this one command"),
    "--gpu-id": (1, "CUDA_VISIBLE_DEVICES chooses GPUs"),
    "--gpu-ids": ("+", "CUDA_VISIBLE_DEVICES chooses GPUs"),
    "--gpu-collect": (0, "results are collected through files, scene by scene"),
    "--tmpdir": (1, "scenes wait in the work dir"),
    "--show": (0, "tools/make_video.py draws results files"),
    "--show-dir": (1, "tools/make_video.py draws results files"),
    "--eval-options": ("+", "tools/evaluate.py has the metrics' options"),
}


class _Remark(argparse.Action):
    """Takes an option and its values, and says that they change nothing."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if os.environ.get("RANK", "0") == "0":
            print(f"{option_string}: without effect here; {self.metavar}", file=sys.stderr)


def accept_old_options(parser: argparse.ArgumentParser, tracking: bool = False) -> None:
    """Have ``parser`` take what the original's ``train.py`` or ``test_tracking.py`` took.

    Options that the parser knows already stay as they are.
    """
    known = parser._option_string_actions
    for name, (count, instead) in (_TRACKING if tracking else _TRAINING).items():
        if name not in known:
            parser.add_argument(
                name,
                action=_Remark,
                type=int if name.startswith("--gpu-id") else str,
                nargs=count,
                default=argparse.SUPPRESS,
                help=argparse.SUPPRESS,
                metavar=instead,
            )
