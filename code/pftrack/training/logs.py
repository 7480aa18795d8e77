"""Logs of a training: terminal, text file, mmcv-style ``.log.json``, TensorBoard."""

from __future__ import annotations

import json
import math
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import torch
from tqdm import tqdm

from pftrack.live import FOLDER, LiveScalars
from pftrack.memory import peak_memory
from pftrack.training import distributed


class TrainLog:
    """Averages what happened since the last line and writes it on every channel.

    Only the main process writes. Losses stay on their device until a line is due.

    Args:
        folder: work dir; files ``<time stamp>.log``, ``<time stamp>.log.json``, ``tf_logs/``;
            None: nothing is written but the terminal lines.
        is_main: whether this process writes.
        tensorboard: whether to write TensorBoard files.
    """

    def __init__(self, folder: Path | None, is_main: bool, tensorboard: bool = True) -> None:
        self.is_main = is_main
        self.started = time.monotonic()
        self.steps_done = 0
        self._losses: dict[tuple[str, ...], torch.Tensor] = {}  # [2, n]: sums, numbers of values
        self._seconds = {"data_time": 0.0, "time": 0.0}
        self._steps = 0
        self._text: TextIO | None = None
        self._json: TextIO | None = None
        self._live: LiveScalars | None = None
        self._bar: tqdm | None = None
        if not is_main or folder is None:
            return
        stamp = time.strftime("%Y%m%d_%H%M%S")
        self._text = (folder / f"{stamp}.log").open("a", encoding="utf-8", buffering=1)
        self._json = (folder / f"{stamp}.log.json").open("a", encoding="utf-8", buffering=1)
        if tensorboard:
            self._live = LiveScalars(folder / FOLDER)

    def begin(self, done: int, total: int) -> None:
        """Steps are made from here on: on a terminal one line shows how far they are."""
        if self.is_main:  # disable=None: where stderr is a file there is no such line
            self._bar = tqdm(
                initial=done, total=total, unit="step", disable=None, dynamic_ncols=True
            )

    def line(self, text: str) -> None:
        """A message for people, on the terminal and in the log file."""
        self._note(text, on_terminal=True)

    def _note(self, text: str, on_terminal: bool) -> None:
        if not self.is_main:
            return
        stamped = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"
        if on_terminal:
            with tqdm.external_write_mode():
                print(stamped, flush=True)
        if self._text is not None:
            self._text.write(stamped + "\n")

    def header(self, values: dict[str, Any]) -> None:
        """First line of the .log.json: what this run is."""
        self._write_json(values)

    def add(self, losses: dict[str, torch.Tensor], data_time: float, step_time: float) -> None:
        """Account for one iteration.

        Values that are not finite stay out of the means: a step that overflowed in half precision
        was not made.
        """
        names = tuple(losses)
        values = torch.stack([value.detach().float() for value in losses.values()])
        finite = values.isfinite()
        sums = torch.stack([torch.where(finite, values, 0.0), finite.float()])
        self._losses[names] = self._losses[names] + sums if names in self._losses else sums
        self._seconds["data_time"] += data_time
        self._seconds["time"] += step_time
        self._steps += 1
        self.steps_done += 1
        if self._bar is not None:
            self._bar.update()

    def write(
        self, iteration: int, epoch: int, batch: int, batches: int, remaining: int, lr: float
    ) -> None:
        """One line: averages since the last one, over the processes (all of them must call).

        Args:
            iteration: steps done in the whole training, TensorBoard's axis.
            epoch, batch, batches: position for people, counted from 1.
            remaining: steps to go, for the ETA.
        """
        losses = self._averages()
        times = {name: total / max(self._steps, 1) for name, total in self._seconds.items()}
        self._losses.clear()
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        steps, self._steps = self._steps, 0
        if not self.is_main:
            return
        per_step = (time.monotonic() - self.started) / max(self.steps_done, 1)
        eta = timedelta(seconds=int(per_step * remaining))
        memory = memory_mb()
        shown = ", ".join(f"{name}: {value:.4f}" for name, value in losses.items())
        bar = self._bar if self._bar is not None and not self._bar.disable else None
        if bar is not None:
            bar.set_description(f"epoch {epoch}", refresh=False)
            bar.set_postfix_str(f"loss {losses.get('loss', math.nan):.3f}, lr {lr:.1e}")
        self._note(
            f"Epoch [{epoch}][{batch}/{batches}] lr: {lr:.3e}, eta: {eta}, "
            f"time: {times['time']:.3f}, data_time: {times['data_time']:.3f}, "
            f"memory: {memory}, {shown}",
            on_terminal=bar is None,
        )
        values = {"mode": "train", "epoch": epoch, "iter": batch, "steps": steps}
        values |= {"lr": lr, "memory": memory}
        self._write_json({**values, **times, **losses})
        self._scalars("train", {**losses, **times, "lr": lr, "memory": float(memory)}, iteration)
        done = 100 * iteration / max(iteration + remaining, 1)
        left = per_step * remaining / 3600
        self._scalars("progress", {"done_percent": done, "hours_left": left}, iteration)

    def write_evaluation(self, iteration: int, epoch: int, metrics: dict[str, float]) -> None:
        """Metrics of an evaluation after ``epoch`` epochs; called on the main process."""
        shown = ", ".join(f"{name}: {value:.4f}" for name, value in metrics.items())
        self.line(f"Epoch [{epoch}] evaluation: {shown}")
        self._write_json({"mode": "val", "epoch": epoch, **metrics})
        self._scalars("val", metrics, iteration)

    def close(self) -> None:
        with ExitStack() as all_of_them:  # also when one cannot write its last lines
            for channel in (self._bar, self._text, self._json, self._live):
                if channel is not None:
                    all_of_them.callback(channel.close)

    def _write_json(self, values: dict[str, Any]) -> None:
        if self._json is not None:
            self._json.write(json.dumps(values) + "\n")

    def _averages(self) -> dict[str, float]:
        """Means over the steps; NaN where no step had a finite value."""
        if not self._losses:
            return {}
        names = list(dict.fromkeys(name for group in self._losses for name in group))
        totals = torch.zeros(2, len(names), device=next(iter(self._losses.values())).device)
        for group, sums in self._losses.items():
            totals[:, [names.index(name) for name in group]] += sums
        means = totals[0] / totals[1]
        return dict(zip(names, distributed.reduce_mean(means).tolist(), strict=True))

    def _scalars(self, prefix: str, values: dict[str, float], iteration: int) -> None:
        if self._live is not None:
            self._live.add({f"{prefix}/{name}": value for name, value in values.items()}, iteration)


def memory_mb() -> int:
    """Peak memory of this process in MiB: of the GPU when one is used, else resident memory."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated() >> 20)
    return peak_memory() >> 20
