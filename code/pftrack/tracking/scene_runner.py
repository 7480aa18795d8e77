"""One process's part of inference: whole scenes, one after another, images decoded ahead."""

from __future__ import annotations

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
        self.not_finite = 0
        self.sequence = {scene: n for n, scene in enumerate(dataset.scenes, start=1)}

    def run(self, scene: str, report: Report) -> SceneResult:
        """Boxes of every frame of a scene, starting from an empty tracker."""
        # Ids count sequences through the whole dataset, whichever process has the scene.
        self.tracker.reset(self.sequence[scene] - 1)
        boxes = {}
        self.not_finite = 0
        indices = self.dataset.scenes[scene]
        frames = prepared_frames(
            (self.dataset.frame(i) for i in indices),
            self.dataset.test_augmentation(),
            self.dataset.size_divisor,
            self.dataset.resizer,
            pin=self.job.engine != "onnx" and self.tracker.device.type == "cuda",
            mean=self.dataset.mean,
        )
        self.clock.take()
        for _ in indices:
            with self.clock("decode"):
                frame, arrays = next(frames)
            boxes[frame.sample_token] = self._frame(frame, arrays)
            report(1)
        return SceneResult(boxes, self.clock.take(), self.not_finite)

    def _count(self, output: TrackOutput, _batch: FrameBatch) -> None:
        self.not_finite += output.not_finite

    def _frame(self, frame: Frame, arrays: FrameArrays) -> list[Box]:
        if self.job.task == "tracking":
            observe = {"observe": self._count} if self.job.engine == "torch" else {}
            boxes = self.tracker.step_boxes(frame, arrays, **observe)
            return tracking_results(frame.sample_token, boxes)
        batch = self.tracker.batch(frame, arrays)
        with precision_context(self.job.precision, self.tracker.device):
            lidar_boxes, scores, labels, broken = detect_frame(self.tracker.model, batch)
        self.not_finite += broken
        with self.clock("life cycle"):
            rows = to_global(
                lidar_boxes.numpy(),
                scores.numpy(),
                labels.numpy(),
                frame.lidar2ego,
                frame.ego2global,
                classes=self.tracker.classes,
            )
            return detection_results(frame.sample_token, rows)


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
