"""One process's part of inference: whole scenes, one or several at once, decoded ahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pftrack.config import load_config
from pftrack.datasets.frames import FrameArrays, prepared_frames
from pftrack.datasets.image_settings import ImageSettings
from pftrack.deployment.onnx_tracker import OnnxTracker
from pftrack.errors import UserError
from pftrack.models.acceleration import precision_context
from pftrack.models.trackers.life_cycle import TrackOutput
from pftrack.nuscenes.format_results import (
    detection_results,
    to_global,
    tracking_results,
)
from pftrack.structures import Frame, FrameBatch
from pftrack.tracking.api import load_tracker
from pftrack.tracking.detection import detect_frame
from pftrack.tracking.job import InferenceJob, Report
from pftrack.tracking.scene_results import Box, SceneResult
from pftrack.tracking.stage_clock import StageClock
from pftrack.tracking.streams import step_together


class SceneRunner:
    """A tracker on one device that turns scenes of a dataset into boxes of a submission.

    Args:
        dataset: a :class:`NuScenesTrackingDataset` in test mode.

    Raises:
        UserError: configuration and checkpoint do not fit, or an option this device lacks.
    """

    def __init__(self, job: InferenceJob, dataset: Any, device: str):
        self.job, self.dataset = job, dataset
        self.tracker = _tracker(job, device)
        images = ImageSettings(
            dataset.test_augmentation(),
            tuple(dataset.mean),
            tuple(dataset.std),
            dataset.size_divisor,
        )
        if job.engine != "torch" and images != self.tracker.images:
            raise UserError(
                f"engine {job.engine}: its graph is for images as {self.tracker.images}, but the "
                f"data set of {job.config} makes {images}: export with this configuration"
            )
        self.tracker.images = images
        self.clock = StageClock()
        self.tracker.stage = self.clock
        self.sequence = {scene: n for n, scene in enumerate(dataset.scenes, start=1)}

    def run(self, scenes: Iterable[str], report: Report) -> Iterator[tuple[str, SceneResult]]:
        """Boxes of every frame of the scenes, each from an empty tracker, as they are finished.

        ``job.streams`` scenes are under way at once; a finished one makes room for the next. Time
        by stage is that since the last one was finished.
        """
        trackers = [self.tracker]
        trackers += [self.tracker.another_stream() for _ in range(self.job.streams - 1)]
        waiting = iter(scenes)
        under_way = [self._begin(s, t) for t, s in zip(trackers, waiting, strict=False)]
        self.clock.take()
        while under_way:
            self._step(under_way)
            report(len(under_way))
            for stream in [stream for stream in under_way if not stream.left]:
                yield (
                    stream.scene,
                    SceneResult(stream.boxes, self.clock.take(), stream.not_finite),
                )
                under_way.remove(stream)
                under_way += [self._begin(s, stream.tracker) for s in islice(waiting, 1)]

    def _begin(self, scene: str, tracker: Any) -> _Stream:
        # Ids count sequences through the whole dataset, whichever process has the scene.
        tracker.reset(self.sequence[scene] - 1)
        indices = self.dataset.scenes[scene]
        frames = prepared_frames(
            (self.dataset.frame(i) for i in indices),
            self.dataset.test_augmentation(),
            self.dataset.size_divisor,
            self.dataset.resizer,
            pin=self.job.engine != "onnx" and tracker.device.type == "cuda",
            mean=self.dataset.mean,
        )
        return _Stream(scene, tracker, frames, len(indices))

    def _step(self, streams: list[_Stream]) -> None:
        """One more frame of each."""
        with self.clock("decode"):
            frames, arrays = zip(*(next(stream.frames) for stream in streams), strict=True)
        if self.job.task == "detection":
            results = [self._detect(s, *fa) for s, *fa in zip(streams, frames, arrays, strict=True)]
        elif self.job.engine == "torch":
            trackers, counts = [s.tracker for s in streams], [s.count for s in streams]
            boxes = step_together(trackers, frames, arrays, counts)
            results = [
                tracking_results(f.sample_token, b) for f, b in zip(frames, boxes, strict=True)
            ]
        else:
            (stream,), (frame,) = streams, frames
            boxes = stream.tracker.step_boxes(frame, arrays[0])
            results = [tracking_results(frame.sample_token, boxes)]
        for stream, frame, rows in zip(streams, frames, results, strict=True):
            stream.boxes[frame.sample_token] = rows
            stream.left -= 1

    def _detect(self, stream: _Stream, frame: Frame, arrays: FrameArrays) -> list[Box]:
        tracker = stream.tracker
        batch = tracker.batch(frame, arrays)
        with precision_context(self.job.precision, tracker.device):
            lidar_boxes, scores, labels, broken = detect_frame(tracker.model, batch)
        stream.not_finite += broken
        with self.clock("life cycle"):
            rows = to_global(
                lidar_boxes.numpy(),
                scores.numpy(),
                labels.numpy(),
                frame.lidar2ego,
                frame.ego2global,
                classes=tracker.classes,
            )
            return detection_results(frame.sample_token, rows)


@dataclass(eq=False)
class _Stream:
    """A scene under way.

    Attributes:
        frames: with their arrays, those that are still to come.  left: how many.
        boxes, not_finite: as in :class:`SceneResult`, so far.
    """

    scene: str
    tracker: Any
    frames: Iterator[tuple[Frame, FrameArrays]]
    left: int
    boxes: dict[str, list[Box]] = field(default_factory=dict)
    not_finite: int = 0

    def count(self, output: TrackOutput, _batch: FrameBatch) -> None:
        self.not_finite += output.not_finite


def _tracker(job: InferenceJob, device: str) -> Any:
    """What runs the network; see ``engine`` of :class:`InferenceJob`."""
    if job.engine == "onnx":
        assert job.deployment is not None
        return OnnxTracker(job.deployment, "cuda" if device.startswith("cuda") else "cpu")
    config = load_config(job.config, list(job.overrides))
    options: dict[str, Any] = {
        "device": device,
        "dtype": job.precision,
        "fuse_conv_bn": job.fuse_conv_bn,
        "compile": job.compile,
    }
    if job.engine == "static":
        return load_tracker(config, job.checkpoint, static=True, **options)
    return load_tracker(config, job.checkpoint, **options)
