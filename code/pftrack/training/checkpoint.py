"""Checkpoints of a running training: written whole or not at all, found again, resumed exactly.

A file is an mmcv checkpoint (``meta``, ``state_dict``, ``optimizer``; the original code loads it)
with one more entry, ``resume``: position, gradient scaler and random states of every process. All
of it is tensors and plain Python values, which any careful reader accepts.

Names in a work dir: ``epoch_<n>.pth`` after epoch n, ``iter_<n>.pth`` snapshots between,
``latest.pth`` a link to the newest, ``best_<metric>.pth``.
"""

from __future__ import annotations

import errno
import math
import os
import random
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch

from pftrack.checkpoints.reading import load_checkpoint_file
from pftrack.errors import UserError
from pftrack.files import atomic, atomic_path

_SCALER = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}
_NUMPY_WORDS = 624  # of a Mersenne twister; numpy believes the position it is given
Count = Annotated[int, msgspec.Meta(ge=0)]
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
SNAPSHOTS_KEPT = 2


def rng_state() -> dict[str, Any]:
    """State of every random generator of this process, as plain values."""
    version, words, gauss = random.getstate()
    name, keys, pos, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(words), gauss],
        "numpy": [
            name,
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            pos,
            has_gauss,
            cached,
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Put back what :func:`rng_state` returned.

    Raises:
        Exception: nearly any, when it is something else.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, pos, has_gauss, cached = state["numpy"]
    if keys.shape != (_NUMPY_WORDS,) or not 0 <= pos <= _NUMPY_WORDS:
        raise ValueError("a random state of numpy that is none")
    np.random.set_state((name, keys.numpy().astype(np.uint32), pos, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


class Position(msgspec.Struct, frozen=True):
    """Where a training stood: whole epochs, and batches of the next, which has so many."""

    epoch: Count
    batch: Count
    iters_per_epoch: Annotated[int, msgspec.Meta(gt=0)]

    @property
    def epochs(self) -> float:
        return self.epoch + self.batch / self.iters_per_epoch


class ResumeState(Position, frozen=True):
    """The entry ``resume`` of a checkpoint.

    Attributes:
        seed: of the training that wrote it.  scaler: of the gradients; {}: there was none.
        skipped_in_row: steps that were not finite.  rng: :func:`rng_state` of every process.
    """

    seed: int
    scaler: dict[str, int | float]
    skipped_in_row: Count
    rng: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]


class RunRecord(msgspec.Struct, frozen=True):
    """What ``meta['record']`` must have to be of use; more is in it."""

    config_file: str | None = None


class Meta(msgspec.Struct, frozen=True):
    """What is read of ``meta``."""

    epoch: Count
    iter: Count
    record: RunRecord = RunRecord()


class Progress(msgspec.Struct, frozen=True):
    """How far a checkpoint is; mmcv's runner writes whole epochs and no ``resume``."""

    meta: Meta
    resume: Position | None = None

    @property
    def epochs(self) -> float:
        return float(self.meta.epoch) if self.resume is None else self.resume.epochs


def resume_state(content: Mapping[str, Any], path: Path) -> ResumeState | None:
    """Random states and position in a checkpoint; None for one of mmcv's runner, which has only
    ``meta``.

    Raises:
        UserError: they are not what a training writes.
    """
    try:
        msgspec.convert(content, Progress)
        if content.get("resume") is None:
            return None
        state = msgspec.convert(content["resume"], ResumeState)
        if state.scaler and not (
            set(state.scaler) >= _SCALER and 0 < state.scaler["scale"] < math.inf
        ):
            raise ValueError("a scaler without its numbers")
        before = rng_state()
        try:
            for process in state.rng:
                set_rng_state(process)
        finally:
            set_rng_state(before)
    except (msgspec.ValidationError, LookupError, ValueError, TypeError) as error:
        raise _not_resumable(path, error) from error
    except (RuntimeError, AttributeError) as error:  # torch's, about states of another size
        raise _not_resumable(path, error) from error
    return state


def _not_resumable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"cannot resume '{path}': its position or random states make no sense "
        f"({' '.join(str(error).split())[:200]}); resume another one, or use LOAD_FROM"
    )


def save_atomically(content: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint: ``path`` is the old file, no file, or the whole new one.

    Raises:
        UserError: no space left, or the folder cannot be written.
    """
    try:
        with atomic(path, "wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        cause = _os_error(error)
        if cause is None:
            raise
        reason = "no space left" if cause.errno in NO_SPACE else (cause.strerror or str(cause))
        raise UserError(
            f"cannot write checkpoint '{path}': {reason}; training stopped, earlier checkpoints "
            "are whole: make room and start again, it resumes (--auto-resume)"
        ) from error


def _os_error(error: BaseException | None) -> OSError | None:
    """The OSError behind an exception; torch's writer wraps it or reports it after the fact."""
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def read_progress(path: Path) -> Progress:
    """How far a checkpoint is; its weights and moments are not read.

    Raises:
        UserError: see :func:`load_checkpoint_file`; or it does not say.
    """
    content = load_checkpoint_file(path, without=("state_dict", "optimizer"))
    try:
        return msgspec.convert(content, Progress)
    except msgspec.ValidationError as error:
        raise UserError(f"'{path}' is no checkpoint of a training: {error}") from error


def is_whole(path: Path) -> bool:
    """True when the file ends as a zip archive does and every record has its CRC-32."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile, RuntimeError, ValueError):
        return False


def position_of(path: Path) -> int | None:
    """Iteration at which a checkpoint was saved; None when the file is torn or not one of ours."""
    try:
        return read_progress(path).meta.iter
    except Exception:  # a torn file can raise anything, and whatever it is the file is not chosen
        return None


def find_latest(
    folder: Path, warn: Callable[[str], None] | None = None, since: float = 0.0
) -> Path | None:
    """The newest whole checkpoint of a work dir, or None.

    Args:
        warn: called with one line for every damaged file that was passed over.
        since: only files written after this time (s, Unix time).
    """
    candidates = [path for path in _numbered(folder) if path.stat().st_mtime >= since]
    positions = {path: position_of(path) for path in candidates}
    readable = [path for path, position in positions.items() if position is not None]
    damaged = [path for path in positions if path not in readable]
    latest = None
    for path in sorted(readable, key=lambda p: positions[p] or 0, reverse=True):
        if is_whole(path):
            latest = path
            break
        damaged.append(path)
    for path in damaged:
        (warn or _ignore)(f"{path} is damaged and is passed over")
    return latest


def _ignore(_line: str) -> None:
    pass


def _numbered(folder: Path) -> list[Path]:
    return [p for p in folder.glob("*.pth") if re.fullmatch(r"(epoch|iter)_\d+\.pth", p.name)]


def _number(path: Path) -> int:
    return int(path.stem.split("_")[1])


def prune(folder: Path, max_keep: int) -> None:
    """Remove all but the newest ``max_keep`` epochs (all kept below 1), and superseded snapshots.

    A snapshot goes when an epoch checkpoint is newer; of the others the newest two stay.
    """
    epochs = sorted((p for p in _numbered(folder) if p.name.startswith("epoch")), key=_number)
    snapshots = sorted((p for p in _numbered(folder) if p.name.startswith("iter")), key=_number)
    if max_keep > 0:
        for path in epochs[:-max_keep]:
            path.unlink()
    reached = (position_of(epochs[-1]) or 0) if epochs else 0
    current = [p for p in snapshots if _number(p) > reached]
    for path in snapshots:
        if path not in current[-SNAPSHOTS_KEPT:]:
            path.unlink()


def link_latest(path: Path) -> None:
    """Point ``latest.pth`` beside ``path`` at it, atomically."""
    with atomic_path(path.with_name("latest.pth")) as temporary:
        temporary.symlink_to(path.name)


def copy_best(path: Path, metric: str) -> Path:
    """Keep a checkpoint as ``best_<metric>.pth``, sharing the bytes where the disk can."""
    best = path.with_name(f"best_{metric}.pth")
    with atomic_path(best) as temporary:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)
    return best


def cpu_state_dict(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights as other programs expect them: on the CPU, contiguous, detached."""
    return {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
