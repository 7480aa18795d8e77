"""Small inline SVG charts; colours come from the page's style sheet (classes ``s0``, ``s1``, ...).

Sizes are in SVG units: 1 unit is 1 CSS pixel at the chart's full width, less on a narrow screen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from pftrack.evaluation.analysis import TrackEvent
from pftrack.evaluation.run import Evaluation
from pftrack.evaluation.tables import BoxTable
from pftrack.evaluation.tracking_metrics import ClassResult

_WIDTH, _HEIGHT = 480, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 44
COLORS = 8  # series colours the style sheet has

Point = tuple[float, float]


def line_chart(
    series: Mapping[str, Sequence[Point]], x_label: str, y_label: str, y_max: float | None = None
) -> str:
    """Lines over a grid; the legend is the caller's (same order, classes ``s0``, ``s1``, ...).

    Args:
        series: name -> points; points with NaN are left out.
        y_max: top of the y axis, which starts at 0; None: a round number above the data.
    """
    known = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        for name, points in series.items()
    }
    everything = [point for points in known.values() for point in points]
    x_top = _round_up(max((x for x, _ in everything), default=1.0))
    y_top = y_max or _round_up(max((y for _, y in everything), default=1.0))

    def place(x: float, y: float) -> Point:
        return (
            _LEFT + x / x_top * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - y / y_top * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = []
    for i in range(5):
        x, y = x_top * i / 4, y_top * i / 4
        (px, _), (_, py) = place(x, 0), place(0, y)
        parts.append(f'<path class="grid" d="M{_LEFT} {py:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">{y:g}</text>')
        parts.append(
            f'<text x="{px:.1f}" y="{_HEIGHT - _BOTTOM + 17}" text-anchor="middle">{x:g}</text>'
        )
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
        f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    for i, (name, points) in enumerate(known.items()):
        if points:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*p) for p in points))
            parts.append(
                f'<path class="line s{i % COLORS}" d="M{path}"><title>{escape(name)}</title></path>'
            )
            dots = points if len(points) < 6 else []
            parts += [
                '<circle class="dot s{}" cx="{:.1f}" cy="{:.1f}" r="3.5"/>'.format(
                    i % COLORS, *place(*p)
                )
                for p in dots
            ]
    title = escape(f"{y_label} over {x_label}")
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">'
        f"{''.join(parts)}</svg>"
    )


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5, 8 times a power of ten."""
    if value <= 0:
        return 1.0
    scale = 10 ** math.floor(math.log10(value))
    return next(m * scale for m in (1, 2, 4, 5, 8, 10) if m * scale >= value * (1 - 1e-9))


class FrameViews:
    """Bird's-eye pictures of single frames around an object, north up."""

    _SIZE = 240
    _METRES = 16.0  # half the width
    _TRAIL = 4  # earlier frames drawn as a line

    def __init__(self, evaluation: Evaluation):
        self._frames = evaluation.frames
        self._tables = {
            name: (result.gt, _shown(result))
            for name, result in evaluation.tracking.classes.items()
        }

    def draw(self, event: TrackEvent) -> str:
        """The event's frame with the boxes of its class: rings are truth, dots are tracks."""
        gt, pred = self._tables[event.class_name]
        parts = [self._ego(event)]
        parts += [
            f'<circle class="truth" cx="{x:.1f}" cy="{y:.1f}" r="11"/>'
            for _track, x, y in self._visible(gt, event)
        ]
        for track, x, y in self._visible(pred, event):
            name = pred.track_names[track]
            color = 0 if name == event.before else 1 if name == event.after else 7
            trail = self._trail(pred, track, event)
            parts.append(f'<path class="line s{color}" d="M{trail}"/>')
            parts.append(
                f'<circle class="dot s{color}" cx="{x:.1f}" cy="{y:.1f}" r="6">'
                f"<title>{escape(name)}</title></circle>"
            )
        half = self._SIZE / 2
        parts.append(f'<circle class="focus" cx="{half}" cy="{half}" r="20"/>')
        label = escape(f"{event.kind} at {event.scene}, frame {event.step}")
        return (
            f'<svg class="view" viewBox="0 0 {self._SIZE} {self._SIZE}" role="img" '
            f'aria-label="{label}">{"".join(parts)}</svg>'
        )

    def _place(self, event: TrackEvent, x: float, y: float) -> Point:
        scale = self._SIZE / (2 * self._METRES)
        return (
            self._SIZE / 2 + (x - event.x) * scale,
            self._SIZE / 2 - (y - event.y) * scale,
        )

    def _ego(self, event: TrackEvent) -> str:
        x, y = self._place(event, *map(float, self._frames.ego[event.frame, :2]))
        return f'<rect class="ego" x="{x - 7:.1f}" y="{y - 7:.1f}" width="14" height="14"/>'

    def _visible(self, boxes: BoxTable, event: TrackEvent) -> list[tuple[int, float, float]]:
        start, stop = np.searchsorted(boxes.frame, [event.frame, event.frame + 1])
        found = []
        for row in range(start, stop):
            x, y = map(float, boxes.center[row, :2])
            if max(abs(x - event.x), abs(y - event.y)) < self._METRES:
                found.append((int(boxes.track[row]), *self._place(event, x, y)))
        return found

    def _trail(self, boxes: BoxTable, track: int, event: TrackEvent) -> str:
        start, stop = np.searchsorted(boxes.frame, [event.frame - self._TRAIL, event.frame + 1])
        rows = start + np.flatnonzero(boxes.track[start:stop] == track)
        points = (self._place(event, *map(float, boxes.center[r, :2])) for r in rows)
        return "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _shown(result: ClassResult) -> BoxTable:
    """Predictions at or above the threshold of the best MOTA."""
    if result.outcome is None:
        return result.pred.select(np.zeros(0, np.int64))
    return result.pred.select(result.pred.score >= result.curves["confidence"][result.best])
