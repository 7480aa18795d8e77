"""What the report's track explorer shows of a scene, as small JSON-ready numbers.

Units: centimetres from the scene's origin (the vehicle's place in the first frame) in the global
frame's axes, hundredths of a radian, thousandths of a score. ``explorer/scene.js`` reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pftrack.evaluation.analysis import TrackEvent
from pftrack.evaluation.run import Evaluation
from pftrack.evaluation.tables import BoxTable
from pftrack.evaluation.tracking_metrics import ClassResult
from pftrack.visualization.trails import track_color


def scene_data(
    evaluation: Evaluation,
    scene: int,
    events: list[TrackEvent],
    before: Evaluation | None = None,
) -> dict[str, Any]:
    """Truth, tracks and failures of one scene, at each class's threshold of the best MOTA.

    Args:
        scene: its number in the frame table.
        events: the switches and fragmentations of this scene.
        before: of another results file over the same frames, drawn beside it.

    Returns:
        ``name``, ``classes``, ``times`` (s), ``ego`` ([F] x, y, yaw), ``origin`` (m, global),
        ``truth`` and ``tracks`` (one entry per object or track and class), ``before`` (tracks),
        ``events`` (kind, frame, object, track before, track after, frames it lasts; -1: none).
    """
    frames = evaluation.frames
    first, stop = np.searchsorted(frames.scene, [scene, scene + 1]).tolist()
    origin = frames.ego[first]
    ego = np.c_[_cm(frames.ego[first:stop, :2] - origin[:2]), _centi(frames.ego_yaw[first:stop])]
    view = _View(evaluation, first, stop, origin)
    return {
        "name": frames.scene_names[scene],
        "classes": list(evaluation.tracking.classes),
        "times": ((frames.timestamp[first:stop] - frames.timestamp[first]) / 1e6).round(2).tolist(),
        "ego": ego.tolist(),
        "origin": origin.tolist(),
        "truth": view.truth,
        "tracks": view.tracks,
        "before": _View(before, first, stop, origin).tracks if before else [],
        "events": [*view.named(events), *view.misses(), *view.false_tracks()],
    }


class _View:
    """The boxes of the frames ``first`` to ``stop``, by object and by track."""

    def __init__(self, evaluation: Evaluation, first: int, stop: int, origin: np.ndarray):
        self.first, self.stop, self.origin = first, stop, origin
        self.truth: list[dict[str, Any]] = []
        self.tracks: list[dict[str, Any]] = []
        self._number: dict[tuple[str, str, str], int] = {}
        for name, result in evaluation.tracking.classes.items():
            self._add_class(name, result)

    def _add_class(self, name: str, result: ClassResult) -> None:
        here, there = self._rows(result.gt), self._rows(result.pred)
        gt, pred = result.gt.select(here), result.pred.select(there)
        object_of, track_of = np.full(len(pred), -1), np.full(len(gt), -1)
        distance = np.zeros(len(pred))
        shown = np.ones(len(pred), bool)
        if result.outcome is not None:
            paired = result.outcome.pred[0][here]
            hit = np.flatnonzero(paired >= 0)
            track_of[hit] = np.searchsorted(there, paired[hit])
            object_of[track_of[hit]] = hit
            distance[track_of[hit]] = result.outcome.distance[0][here][hit]
            shown = pred.score >= result.curves["confidence"][result.best]
        objects = list(self._sequences(gt, np.ones(len(gt), bool)))
        tracks = list(self._sequences(pred, shown))
        # Rows of the tables as places in the lists; -1 stays -1.
        object_place = self._places(objects, len(gt), len(self.truth))
        track_place = self._places(tracks, len(pred), len(self.tracks))
        for rows in objects:
            entry = self._entry(gt, rows, name)
            self._number["object", name, entry["id"]] = len(self.truth)
            self.truth.append({**entry, "track": track_place[track_of[rows]].tolist()})
        for rows in tracks:
            entry = self._entry(pred, rows, name)
            self._number["track", name, entry["id"]] = len(self.tracks)
            red, green, blue = track_color(entry["id"])[::-1]
            entry |= {
                "color": f"#{red:02x}{green:02x}{blue:02x}",
                "score": (pred.box_score[rows] * 1000).round().astype(int).tolist(),
                "object": object_place[object_of[rows]].tolist(),
                "error": _cm(distance[rows]).tolist(),
            }
            if pred.forecast is not None:
                path = np.cumsum(pred.forecast[rows], axis=1)
                entry["forecast"] = _cm(path).reshape(len(rows), -1).tolist()
            self.tracks.append(entry)

    def _rows(self, boxes: BoxTable) -> np.ndarray:
        return np.arange(*np.searchsorted(boxes.frame, [self.first, self.stop]))

    @staticmethod
    def _sequences(boxes: BoxTable, keep: np.ndarray) -> Iterator[np.ndarray]:
        """The rows of each track, in order of time."""
        rows = np.flatnonzero(keep)
        rows = rows[np.argsort(boxes.track[rows], kind="stable")]
        cuts = np.flatnonzero(np.diff(boxes.track[rows])) + 1
        return (part for part in np.split(rows, cuts) if len(part))

    @staticmethod
    def _places(sequences: list[np.ndarray], count: int, offset: int) -> np.ndarray:
        place = np.full(count + 1, -1)  # the last one is what -1 finds
        for number, rows in enumerate(sequences):
            place[rows] = offset + number
        return place

    def _entry(self, boxes: BoxTable, rows: np.ndarray, name: str) -> dict[str, Any]:
        x, y, z = _cm(boxes.center[rows] - self.origin).T.tolist()
        return {
            "id": boxes.track_names[boxes.track[rows[0]]],
            "class": name,
            "frames": (boxes.frame[rows] - self.first).tolist(),
            "x": x,
            "y": y,
            "z": z,
            "yaw": _centi(boxes.shape[rows, 3]).tolist(),
            "size": _cm(np.median(boxes.shape[rows, :3], axis=0)).tolist(),
            "filled": boxes.interpolated[rows].astype(int).tolist(),
        }

    def named(self, events: list[TrackEvent]) -> Iterator[list[Any]]:
        """Switches and fragmentations by the numbers of their object and tracks."""
        for e in events:
            yield [
                e.kind,
                e.step,
                self._number["object", e.class_name, e.object_id],
                self._number["track", e.class_name, e.before],
                self._number["track", e.class_name, e.after],
                1,
            ]

    def misses(self) -> Iterator[list[Any]]:
        """Runs of frames in which no track is paired with an object."""
        for number, entry in enumerate(self.truth):
            missed = np.array(entry["track"]) < 0
            edges = np.flatnonzero(np.diff(np.r_[False, missed, False].astype(int)))
            for start, stop in zip(edges[::2], edges[1::2], strict=True):
                yield ["miss", entry["frames"][start], number, -1, -1, int(stop - start)]

    def false_tracks(self) -> Iterator[list[Any]]:
        """Tracks that are paired with no object in any frame."""
        for number, entry in enumerate(self.tracks):
            if max(entry["object"]) < 0:
                yield ["false track", entry["frames"][0], -1, number, -1, len(entry["frames"])]


def _cm(metres: np.ndarray) -> np.ndarray:
    return np.round(metres * 100).astype(int)


def _centi(radians: np.ndarray) -> np.ndarray:
    return np.round(radians * 100).astype(int)
