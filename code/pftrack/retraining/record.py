"""The reference record: which trainings there are, and what is known about their outcome.

``checkpoints/retraining.json`` holds what is public; docs/reproduction.md describes the format. A
file of the same format can be given instead, and a finished training can be written as one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pftrack.errors import UserError
from pftrack.evaluation.tracking_metrics import METRICS
from pftrack.paths import RETRAINING_RECORD

VERSION = 1
EVALUATIONS = ("tracking", "detection")
# Names as the literature writes them -> key of the evaluation's metrics_summary.json.
TRACKING = {"recall" if key == "recall" else key.upper(): key for key in METRICS}
DETECTION = {"mAP": "mean_ap", "NDS": "nd_score"}

Losses = dict[int, dict[str, float]]  # epoch, from 1 -> name -> mean over the epoch


@dataclass(frozen=True)
class StepTime:
    """How long a training step takes.

    Attributes:
        seconds: per clip of one process.  device: where.  basis: how it was found out.
    """

    seconds: float
    device: str
    basis: str

    @property
    def on_cpu(self) -> bool:
        return self.device.startswith("CPU")


@dataclass(frozen=True)
class Outcome:
    """What a training came to; what is not known is left out.

    Attributes:
        by: who trained it, how.
        metrics: by name.  class_amota: AMOTA by class.  losses: means by epoch.
    """

    by: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    class_amota: Mapping[str, float] = field(default_factory=dict)
    losses: Losses = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One training.

    Attributes:
        name: what ``ONLY=`` selects it by, and its folder.
        config: configuration file, as a command line takes it.
        evaluate: what is measured when it has finished: ``tracking``, ``detection``.
        clips_per_step: over all processes, as published.
        published: metrics by name.
        retrained: the outcome of repeating it.
        at_least: limits below which a metric of ours fails; others are shown, not judged.
    """

    name: str
    config: str
    evaluate: tuple[str, ...] = ()
    clips_per_step: int | None = None
    step_time: StepTime | None = None
    published: Mapping[str, float] = field(default_factory=dict)
    retrained: Outcome | None = None
    at_least: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """All trainings, in the order in which they run."""

    about: str
    stages: tuple[Stage, ...]

    def select(self, words: list[str]) -> list[Stage]:
        """Stages by name or part of it (``f3``, ``800x320``); all when there are no words.

        Raises:
            UserError: a word selects nothing.
        """
        for word in words:
            if not any(word in (s.name, *s.name.split("_")) for s in self.stages):
                names = ", ".join(s.name for s in self.stages)
                raise UserError(f"no training is called '{word}' in the record; it has: {names}")
        return [
            s for s in self.stages if not words or {s.name, *s.name.split("_")}.intersection(words)
        ]


def load_record(path: Path = RETRAINING_RECORD) -> Record:
    """Read and check a record.

    Raises:
        UserError: it cannot be read, or one line that names the first thing wrong in it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _record(content)
    except OSError as error:
        raise UserError(f"cannot read the record '{path}': {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"the record '{path}' is malformed: {error} (format: docs/reproduction.md)"
        ) from None


def record_content(record: Record) -> dict[str, Any]:
    """The record as plain values for JSON, read back by :func:`load_record`; NaN is left out."""
    return {
        "version": VERSION,
        "about": record.about,
        "stages": [_stage_content(stage) for stage in record.stages],
    }


def _stage_content(stage: Stage) -> dict[str, Any]:
    content: dict[str, Any] = {"name": stage.name, "config": stage.config}
    content["evaluate"] = list(stage.evaluate)
    content["clips_per_step"] = stage.clips_per_step
    content["step_time"] = stage.step_time and vars(stage.step_time)
    content["published"] = _known(stage.published)
    if stage.retrained is not None:
        losses = stage.retrained.losses.items()
        outcome = {
            "by": stage.retrained.by,
            "metrics": _known(stage.retrained.metrics),
            "AMOTA_by_class": _known(stage.retrained.class_amota),
            "losses": [{"epoch": epoch, **_known(means)} for epoch, means in losses],
        }
        content["retrained"] = {key: value for key, value in outcome.items() if value}
    content["at_least"] = _known(stage.at_least)
    return {key: value for key, value in content.items() if value}


def _known(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}


# ---------------------------------------------------------------- reading, with a place in errors


def _record(content: Any) -> Record:
    values = _object("it", content, required=("version", "about", "stages"))
    if values["version"] != VERSION or isinstance(values["version"], bool):
        raise ValueError(f"version {values['version']!r} is not {VERSION}")
    if not isinstance(values["stages"], list) or not values["stages"]:
        raise ValueError("'stages' is not a list of trainings")
    stages = tuple(_stage(number, entry) for number, entry in enumerate(values["stages"], 1))
    for key in ("name", "config"):
        seen = [getattr(stage, key) for stage in stages]
        for value in seen:
            if seen.count(value) > 1:
                raise ValueError(f"two stages have the {key} '{value}'")
    return Record(_text("'about'", values["about"]), stages)


def _stage(number: int, content: Any) -> Stage:
    optional = ("evaluate", "clips_per_step", "step_time", "published", "retrained", "at_least")
    values = _object(f"stage {number}", content, ("name", "config"), optional)
    name = _text(f"stage {number}, 'name'", values["name"])
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise ValueError(f"stage {number}: '{name}' cannot be a folder's name (letters, digits, _)")
    evaluate = values.get("evaluate", [])
    if not isinstance(evaluate, list) or not set(map(str, evaluate)) <= set(EVALUATIONS):
        raise ValueError(f"{name}: 'evaluate' is not a list of {', '.join(EVALUATIONS)}")
    clips = values.get("clips_per_step")
    if clips is not None and (type(clips) is not int or clips < 1):
        raise ValueError(f"{name}: 'clips_per_step' is not a whole number above 0")
    at_least = _metrics(f"{name}, 'at_least'", values.get("at_least", {}))
    for metric in at_least:
        if ("tracking" if metric in TRACKING else "detection") not in evaluate:
            raise ValueError(f"{name}: 'at_least' has {metric}, which 'evaluate' does not measure")
    return Stage(
        name=name,
        config=_text(f"{name}, 'config'", values["config"]),
        evaluate=tuple(evaluate),
        clips_per_step=clips,
        step_time=_step_time(name, values["step_time"]) if "step_time" in values else None,
        published=_metrics(f"{name}, 'published'", values.get("published", {})),
        retrained=_outcome(name, values["retrained"]) if "retrained" in values else None,
        at_least=at_least,
    )


def _step_time(stage: str, content: Any) -> StepTime:
    where = f"{stage}, 'step_time'"
    values = _object(where, content, ("seconds", "device", "basis"))
    seconds = _number(f"{where}, 'seconds'", values["seconds"])
    if seconds <= 0:
        raise ValueError(f"{where}: 'seconds' is not above 0")
    device, basis = (_text(f"{where}, '{key}'", values[key]) for key in ("device", "basis"))
    return StepTime(seconds, device, basis)


def _outcome(stage: str, content: Any) -> Outcome:
    where = f"{stage}, 'retrained'"
    values = _object(where, content, ("by",), ("metrics", "AMOTA_by_class", "losses"))
    return Outcome(
        by=_text(f"{where}, 'by'", values["by"]),
        metrics=_metrics(f"{where}, 'metrics'", values.get("metrics", {})),
        class_amota=_numbers(f"{where}, 'AMOTA_by_class'", values.get("AMOTA_by_class", {})),
        losses=_losses(f"{where}, 'losses'", values.get("losses", [])),
    )


def _losses(where: str, content: Any) -> Losses:
    if not isinstance(content, list):
        raise ValueError(f"{where} is not a list of epochs")
    losses: Losses = {}
    for entry in content:
        means = dict(entry) if isinstance(entry, dict) else {}
        epoch = means.pop("epoch", None)
        if type(epoch) is not int or epoch < 1 or epoch in losses:
            raise ValueError(f"{where}: every entry needs its own 'epoch', counted from 1")
        losses[epoch] = _numbers(f"{where}, epoch {epoch}", means)
    return losses


def _metrics(where: str, content: Any) -> dict[str, float]:
    values = _numbers(where, content)
    for name in values:
        if name not in TRACKING and name not in DETECTION:
            known = ", ".join([*TRACKING, *DETECTION])
            raise ValueError(f"{where}: no metric is called '{name}' (known: {known})")
    return values


def _numbers(where: str, content: Any) -> dict[str, float]:
    if not isinstance(content, dict):
        raise ValueError(f"{where} is not an object of numbers")
    return {name: _number(f"{where}, '{name}'", value) for name, value in content.items()}


def _number(where: str, value: Any) -> float:
    # Python's JSON knows NaN and Infinity; true is an int; an int may be too large for a float.
    if type(value) not in (int, float) or not -1e300 < value < 1e300:
        raise ValueError(f"{where} is not a number")
    return float(value)


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError(f"{where} is not a line of text")
    return value


def _object(
    where: str, content: Any, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"{where} is not an object")
    for key in required:
        if key not in content:
            raise ValueError(f"{where} has no '{key}'")
    for key in content:
        if key not in (*required, *optional):
            known = ", ".join([*required, *optional])
            raise ValueError(f"{where}: '{key}' is not known (known: {known})")
    return content
