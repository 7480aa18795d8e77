"""What can be watched while something runs: curves for TensorBoard (``make watch``)."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

FOLDER = "tf_logs"  # of a work dir
_SECONDS = 5.0  # between two points of :class:`LiveProgress`
# The page "Custom Scalars": categories, charts, and the tags (regular expressions) in each.
_LAYOUT = {
    "progress": {
        "done, %": ["Multiline", ["progress/done_percent"]],
        "hours left": ["Multiline", ["progress/hours_left"]],
    },
    "training": {
        "loss": ["Multiline", ["train/loss$"]],
        "detection": ["Multiline", [r"train/loss_(cls|bbox)$"]],
        "past reasoning": ["Multiline", [r"train/loss_mem_(cls|bbox)$"]],
        "forecasts": ["Multiline", [r"train/(f[0-9]+[.])?loss_for$"]],
        "gradient norm": ["Multiline", ["train/grad_norm"]],
        "learning rate": ["Multiline", ["train/lr"]],
    },
    "speed": {
        "seconds a step, of these waiting": ["Multiline", [r"train/(time|data_time)$"]],
        "memory, MiB": ["Multiline", ["train/memory"]],
        "frames a second": ["Multiline", ["progress/frames_per_second"]],
    },
    "evaluation": {
        "AMOTA, MOTA, recall": ["Multiline", [r"val/(amota|mota|recall)$"]],
        "AMOTP, m": ["Multiline", ["val/amotp"]],
        "identity switches": ["Multiline", ["val/ids"]],
    },
}


class LiveScalars:
    """Writes named numbers for TensorBoard; nothing is made before the first of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Points of the curves ``values``, at ``step`` of the common axis."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            threading.excepthook = _leave_to_caller
            self._writer = SummaryWriter(str(self.folder))
            self._writer.add_custom_scalars(_LAYOUT)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _leave_to_caller(args: threading.ExceptHookArgs) -> None:
    """What TensorBoard's thread could not write is raised anew at the next write or at the end."""
    if type(args.thread).__name__ != "_AsyncWriterThread":
        threading.__excepthook__(args)


class LiveProgress:
    """How far a count is, as curves: a point every few seconds, where there is room for them.

    Args:
        folder: as :class:`LiveScalars`.  total: what is counted to.  done: where it starts.
    """

    def __init__(self, folder: Path, total: int, done: int = 0) -> None:
        self._scalars = LiveScalars(folder)
        self._total, self._first, self._done = total, done, done
        self._started = self._written = time.monotonic()

    def __enter__(self) -> LiveProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._scalars.close()

    def update(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        now = time.monotonic()
        if now - self._written < _SECONDS:
            return
        self._written = now
        rate = (self._done - self._first) / (now - self._started)
        values = {
            "progress/done_percent": 100 * self._done / self._total,
            "progress/frames_per_second": rate,
            "progress/hours_left": (self._total - self._done) / max(rate, 1e-9) / 3600,
        }
        with suppress(OSError):  # the results' own files say so when they do not fit
            self._scalars.add(values, self._done)
