"""A finished training beside the record: metrics, and losses by epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pftrack.evaluation.text import align, format_metric
from pftrack.retraining.record import DETECTION, TRACKING, Losses, Outcome, Stage

# Shown whether or not the record has them; all others when it has.
HEADLINE = ("AMOTA", "AMOTP", "recall", "IDS", *DETECTION)


@dataclass(frozen=True)
class Row:
    """One metric. NaN: not known, or not measured.

    Attributes:
        at_least: the limit it is judged by; NaN: it is shown, not judged.
    """

    name: str
    published: float = math.nan
    retrained: float = math.nan
    measured: float = math.nan
    at_least: float = math.nan

    @property
    def difference(self) -> float:
        """To the retraining by others, where none is known to the published number."""
        return self.measured - (self.published if math.isnan(self.retrained) else self.retrained)

    @property
    def passed(self) -> bool | None:
        """None when it is not judged; what was not measured fails."""
        if math.isnan(self.at_least):
            return None
        return self.measured >= self.at_least - 1e-9  # forgives the decimal limit's rounding


def compare(stage: Stage, measured: Outcome) -> list[Row]:
    """Every metric that is known of a stage or measured, then AMOTA by class."""
    retrained = stage.retrained or Outcome("nobody")
    wanted = {*stage.published, *retrained.metrics, *stage.at_least}
    wanted |= set(HEADLINE) & measured.metrics.keys()
    rows = [
        Row(
            name,
            stage.published.get(name, math.nan),
            retrained.metrics.get(name, math.nan),
            measured.metrics.get(name, math.nan),
            stage.at_least.get(name, math.nan),
        )
        for name in (*TRACKING, *DETECTION)
        if name in wanted
    ]
    for name in sorted({*retrained.class_amota, *measured.class_amota}):
        reference = retrained.class_amota.get(name, math.nan)
        ours = measured.class_amota.get(name, math.nan)
        rows.append(Row(f"AMOTA {name}", retrained=reference, measured=ours))
    return rows


def metrics_table(rows: list[Row]) -> str:
    """metric | published | retrained | measured | difference | at least | verdict."""
    verdict = {True: "pass", False: "FAIL", None: ""}
    cells = [["metric", "published", "retrained", "measured", "difference", "at least", ""]]
    for row in rows:
        key = TRACKING.get(row.name.split()[0], "amota")  # detection metrics: three decimals too
        values = [row.published, row.retrained, row.measured]
        numbers = [format_metric(key, value) for value in values]
        difference = format_metric(key, row.difference)
        sign = "+" if row.difference >= 0 else ""
        limit = format_metric(key, row.at_least)
        cells.append([row.name, *numbers, sign + difference, limit, verdict[row.passed]])
    return align(cells)


def losses_table(measured: Losses, reference: Losses) -> str:
    """Mean losses by epoch; in brackets the difference to the record's, where it has them.

    Shown are the sum and the last layer's terms of a clip's last frame; the files have all.
    """
    names = [n for n in next(iter(measured.values()), {}) if "." not in n]
    names.sort(key=lambda name: name != "loss")  # the sum first, the others in their order
    cells = [["epoch", *names]]
    for epoch, means in measured.items():
        known = reference.get(epoch, {})
        cells.append([str(epoch), *(_loss(means.get(n), known.get(n)) for n in names)])
    return align(cells)


def _loss(value: float | None, reference: float | None) -> str:
    if value is None:
        return "-"
    if not reference:
        return f"{value:.4f}"
    return f"{value:.4f} ({100 * (value / reference - 1):+.1f}%)"
