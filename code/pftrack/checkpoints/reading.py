"""Reading checkpoints without trusting them, and loading them into models.

A ``.pth`` file is a pickle: read carelessly it runs whatever code it contains. Everything in this
project reads checkpoints through :func:`load_checkpoint_file`, which only rebuilds tensors, plain
containers and numbers.
"""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pftrack.checkpoints.layouts import in_own_names
from pftrack.checkpoints.legacy_tar import load_legacy_tar
from pftrack.checkpoints.torch_files import PLAIN_PICKLE, load_stream, load_zip
from pftrack.checkpoints.weights import read_weights
from pftrack.errors import UserError
from pftrack.paths import CHECKPOINTS_DIR, portable
from pftrack.pickles import bounded_memory

COUNTER = "num_batches_tracked"  # of a batch norm; frozen ones of other programs have none
CLASSIFICATION = ("cls_branches", "track_cls")  # parts of a model with an output per class


def find_checkpoint(name: str | os.PathLike[str]) -> Path:
    """The file a user means: absolute, relative, or below ``checkpoints/``.

    Raises:
        UserError: there is no such file in any of these places.
    """
    path = portable(name).expanduser()
    below = path.relative_to("ckpts") if path.parts[:1] == ("ckpts",) else path
    candidates = [path, CHECKPOINTS_DIR / below]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if path.is_dir():
        raise UserError(f"checkpoint '{path}' is a folder; name a .pth file inside it")
    places = "here" if path.is_absolute() else f"here or below {CHECKPOINTS_DIR}"
    raise UserError(
        f"no checkpoint '{path}' {places}; 'make checkpoints' downloads the published ones"
    )


def load_checkpoint_file(
    path: str | os.PathLike[str], without: Sequence[str] = ()
) -> dict[str, Any]:
    """Read a checkpoint on the CPU: zip, older stream and tar formats.

    Tensors saved from a GPU arrive on the CPU. Nothing but tensors, numpy numbers and arrays, and
    plain containers is rebuilt; no code from the file runs.

    Args:
        path: as :func:`find_checkpoint` takes it.
        without: entries that are left out (``state_dict``, ``optimizer``), which is fast: the
            checksums of what is left out are not looked at.

    Raises:
        UserError: the file is missing, unreadable, torn, not a checkpoint, or wants to rebuild
            objects of other types.
    """
    path = find_checkpoint(path)
    try:
        with bounded_memory(path.stat().st_size):
            if zipfile.is_zipfile(path):
                _check_archive(path, checksums=not without)
                content = load_zip(path, without)
            elif tarfile.is_tarfile(path):
                content = load_legacy_tar(path)
            else:
                content = load_stream(path, without)
    except UserError:
        raise
    except Exception as error:  # a damaged or hostile file can raise nearly anything
        raise UserError(_why_unreadable(path, error)) from error
    if not isinstance(content, Mapping):
        raise UserError(
            f"'{path}' is not a checkpoint: it holds a {type(content).__name__}, not a dictionary"
        )
    return {key: value for key, value in content.items() if key not in without}


def _check_archive(path: Path, checksums: bool) -> None:
    """A zip's own checksums; and torch never compresses: a compressed member could unpack to more
    than the memory holds, as could many that share their bytes."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED for m in members):
            raise UserError(
                f"'{path}' is a compressed archive, not a checkpoint; unpack it and name the .pth"
            )
        if sum(m.file_size for m in members) > path.stat().st_size:
            raise zipfile.BadZipFile("members overlap")
        broken = archive.testzip() if checksums else None
    if broken is not None:
        raise UserError(
            f"checkpoint '{path}' is damaged: the checksum of {broken} is wrong; download or save "
            "it again"
        )


def _why_unreadable(path: Path, error: Exception) -> str:
    if path.stat().st_size == 0:
        return f"checkpoint '{path}' is empty; download or save it again"
    if PLAIN_PICKLE in str(error):
        return (
            f"'{path}' is a plain pickle, not a checkpoint: load it where it was written, and "
            "torch.save() a dictionary of its tensors"
        )
    wanted = re.search(r"it refers to '([\w.]+)'", str(error))
    if wanted:
        return (
            f"checkpoint '{path}' is refused: it wants to rebuild '{wanted[1]}', which could run "
            "code; ask its author for a file with weights only"
        )
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as cannot:
        return f"cannot read checkpoint '{path}': {cannot.strerror}"
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return (
            f"checkpoint '{path}' is torn or damaged ({path.stat().st_size} bytes); "
            "download or save it again"
        )
    return f"'{path}' is not a checkpoint (it begins with {head!r})"


def count_by_module(keys: Iterable[str], limit: int = 6) -> str:
    """``"img_backbone 592, pts_bbox_head 221"``: keys counted by their first component."""
    counts = Counter(key.split(".")[0] for key in keys).most_common()
    shown = ", ".join(f"{name} {n}" for name, n in counts[:limit])
    return shown + (f", {len(counts) - limit} more modules" if len(counts) > limit else "")


@dataclass
class LoadReport:
    """What happened to every entry when a checkpoint was loaded into a model.

    Attributes:
        loaded: entries copied.
        skipped: entries of the file that the model does not have.
        mismatched: (entry, shape in the file, shape in the model), not copied.
        missing: entries of the model that the file does not have; they keep their initialisation.
        source: the file's name.
        remarks: what was set right on the way, a line each.
    """

    loaded: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    source: str = ""
    remarks: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Every entry of file and model found its partner."""
        return not (self.skipped or self.mismatched or self.missing)

    def summary(self) -> str:
        """Three lines: loaded, skipped, newly initialised, each counted by module; remarks."""
        shapes = [key for key, _, _ in self.mismatched]
        new = self.missing + shapes
        skipped = [f"{len(self.skipped)} unknown ({count_by_module(self.skipped)})"] * bool(
            self.skipped
        ) + [f"{len(shapes)} of another shape ({count_by_module(shapes)})"] * bool(shapes)
        return "\n".join(
            [
                f"loaded {len(self.loaded)} entries from {self.source}"
                + f" ({count_by_module(self.loaded)})" * bool(self.loaded),
                f"skipped {len(self.skipped) + len(shapes)}"
                + f": {', '.join(skipped)}" * bool(skipped),
                f"newly initialised {len(new)}" + f": {count_by_module(new)}" * bool(new),
                *self.remarks,
            ]
        )


def compare_keys(
    weights: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], source: str = ""
) -> LoadReport:
    """Which entries of ``weights`` fit a model whose entries have the ``expected`` shapes."""
    report = LoadReport(source=source)
    for key, value in weights.items():
        shape = tuple(value.shape)
        if key not in expected:
            report.skipped.append(key)
        elif shape != tuple(expected[key]):
            report.mismatched.append((key, shape, tuple(expected[key])))
        else:
            report.loaded.append(key)
    report.missing = [key for key in expected if key not in weights]
    return report


def load_into(
    model: nn.Module,
    checkpoint: str | os.PathLike[str] | Mapping[str, Any],
    strict: bool = False,
    classes: Sequence[str] | None = None,
    source: str = "the given weights",
) -> LoadReport:
    """Copy a checkpoint's weights into a model.

    Args:
        model: any module; its own dtype and device are kept.
        checkpoint: a file, or what :func:`load_checkpoint_file` returned.
        strict: every entry of both sides must fit.
        classes: names of the model's labels, in their order; None: nobody knows them.
        source: what to call a checkpoint that is not a file.

    Returns:
        what was loaded, skipped and newly initialised.

    Raises:
        UserError: the file cannot be read, nothing in it fits the model or more entries have
            another shape than fit (a checkpoint of another model), an entry is not finite, its
            classes are others or in another order, or ``strict`` and something does not fit. The
            model is unchanged then.
    """
    if not isinstance(checkpoint, Mapping):
        source = str(find_checkpoint(checkpoint))
        checkpoint = load_checkpoint_file(source)
    weights, remarks = read_weights(checkpoint, source)
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights, renamed = in_own_names(weights, expected)
    report = compare_keys(weights, expected, source)
    report.remarks = remarks + renamed
    if report.missing and all(key.endswith(COUNTER) for key in report.missing):
        report.remarks.append("what is newly initialised counts the batches that batch norms saw")
    if not report.loaded or len(report.mismatched) > len(report.loaded):
        raise UserError(
            f"'{source}' is a checkpoint of another model: {len(report.loaded) or 'none'} of its "
            f"{len(weights)} entries ({count_by_module(weights)}) fit this one "
            f"({count_by_module(expected)})"
        )
    if strict and not report.complete:
        raise UserError(
            f"'{source}' does not fit the model exactly: "
            + "; ".join(report.summary().splitlines()[1:])
            + "; is it a checkpoint of another configuration? 'make inspect CKPT=...' tells"
        )
    _check_classes(checkpoint, classes, report)
    broken = [key for key in report.loaded if not weights[key].isfinite().all()]
    if broken:
        raise UserError(
            f"'{source}' holds weights that are not finite numbers: {broken[0]}"
            + f" and {len(broken) - 1} more entries" * (len(broken) > 1)
            + "; use an earlier checkpoint of that training"
        )
    model.load_state_dict({key: weights[key] for key in report.loaded}, strict=False)
    return report


def _check_classes(
    checkpoint: Mapping[str, Any], classes: Sequence[str] | None, report: LoadReport
) -> None:
    """Refuse labels that mean something else; only where a classification is loaded."""
    meta = checkpoint.get("meta")
    trained = meta.get("CLASSES") if isinstance(meta, Mapping) else None
    if classes is None or not isinstance(trained, (list, tuple)) or not trained:
        return
    if not any(name in key for key in report.loaded for name in CLASSIFICATION):
        return
    if list(trained) != list(classes):
        at = next(
            (i for i, pair in enumerate(zip(trained, classes, strict=False)) if pair[0] != pair[1]),
            min(len(trained), len(classes)),
        )
        there, here = (list(names)[at : at + 1] or ["none"] for names in (trained, classes))
        raise UserError(
            f"'{report.source}' was trained with {len(trained)} classes, the config has "
            f"{len(classes)}, and label {at} is '{there[0]}' there, '{here[0]}' here: state its "
            f"classes in the config (class_names, data.*.classes): {[str(n) for n in trained]!r}"
        )
