"""The streaming API: one frame in, the live tracks out.

::

    tracker = load_tracker("projects/configs/tracking/petr/f3_q5_800x320.py", "ckpts/f3.pth")
    for frame in frames:
        tracks = tracker.step(frame)

Several streams at once, on one model: :func:`pftrack.tracking.streams.step_together`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from torch import Tensor

from pftrack.boxes import Boxes
from pftrack.checkpoints.reading import load_into
from pftrack.datasets.class_names import class_names
from pftrack.datasets.frames import FrameArrays, check_shapes, prepare_frame
from pftrack.datasets.image_settings import ImageSettings
from pftrack.devices import find_device
from pftrack.errors import UserError
from pftrack.memory import return_freed
from pftrack.models import acceleration
from pftrack.models.layers.winograd import use_winograd
from pftrack.models.trackers.life_cycle import (
    StreamMemory,
    Thresholds,
    TrackOutput,
)
from pftrack.models.trackers.static_step import StaticStep
from pftrack.models.trackers.tracker import StageTimer, untimed
from pftrack.nuscenes.format_results import to_global
from pftrack.registry import build_model
from pftrack.structures import (
    CLASSES,
    TRACKING_CLASSES,
    ClipBatch,
    Frame,
    FrameBatch,
    Track,
)
from pftrack.tracking.static_tracker import StaticTracker

if TYPE_CHECKING:
    from mmcv import Config

    from pftrack.models.trackers.tracker import Cam3DTracker


class Tracker:
    """A model with the memory of one stream of frames. Several may share a model.

    Args:
        model: in evaluation mode, on its device; never changed.
        images: how images become network input.
        classes: names of the labels.
        precision: fp32, fp16 or bf16 of the network; geometry and thresholds stay in fp32.
        stage: times the stages of a frame, e.g. a :class:`StageClock`.

    Attributes:
        thresholds: the configuration's, with the labels of the tracked classes.
        memory: of the stream, a value: keep it and put it back to go on from there.
    """

    def __init__(
        self,
        model: Cam3DTracker,
        images: ImageSettings,
        classes: tuple[str, ...] = CLASSES,
        precision: str = "fp32",
        stage: StageTimer = untimed,
    ) -> None:
        self.model = model
        self.images = images
        self.classes = classes
        self.precision = precision
        self.stage = stage
        self.thresholds = with_tracked_classes(model.thresholds, classes)
        self.memory = StreamMemory()

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.model.reference_points.weight.device

    def another_stream(self) -> Tracker:
        """A tracker of another stream, on the same model and with the same thresholds."""
        other = Tracker(self.model, self.images, self.classes, self.precision, self.stage)
        other.thresholds = self.thresholds
        return other

    def reset(self, sequence: int = 0) -> None:
        """Forget all tracks; ids and sequences start again.

        Args:
            sequence: as if so many sequences had been seen.
        """
        self.memory = StreamMemory(sequence=sequence)

    def step(
        self,
        frame: Frame,
        arrays: FrameArrays | None = None,
        observe: Callable[[TrackOutput, FrameBatch], None] | None = None,
    ) -> list[Track]:
        """Track one more frame: :meth:`step_boxes` as a list of :class:`Track`."""
        return list(self.step_boxes(frame, arrays, observe))

    def step_boxes(
        self,
        frame: Frame,
        arrays: FrameArrays | None = None,
        observe: Callable[[TrackOutput, FrameBatch], None] | None = None,
    ) -> Boxes:
        """Track one more frame.

        A new sequence starts when the frame's ``scene_id`` differs from the last one's, or, where
        either has none, when their time stamps differ by more than 10 s.

        Args:
            frame: the key frame; frames of a sequence in order of time.
            arrays: the frame's arrays, where a loader has prepared them already.
            observe: called with what the model reported and what it saw.

        Returns:
            tracks, best score first, in the global frame; those beyond the range in which nuScenes
            evaluates their class are left out.

        Raises:
            UserError: images that cannot be read, or matrices of another shape.
        """
        return self.step_batch(frame, self.batch(frame, arrays), observe)

    def step_batch(
        self,
        frame: Frame,
        batch: FrameBatch,
        observe: Callable[[TrackOutput, FrameBatch], None] | None = None,
        feats: list[Tensor] | None = None,
    ) -> Boxes:
        """:meth:`step_boxes` of what :meth:`batch` made of the frame.

        Args:
            feats: of the batch's images, where they are there already (:func:`step_together`).
        """
        with acceleration.precision_context(self.precision, self.device):
            output, self.memory = self.model.forward_track(
                batch, self.memory, self.thresholds, self.stage, feats
            )
        if observe is not None:
            observe(output, batch)
        with self.stage("life cycle"):
            return self._boxes(output, frame)

    def batch(self, frame: Frame, arrays: FrameArrays | None = None) -> FrameBatch:
        """What the model sees of a frame: decoded, resized, normalised, on its device."""
        check_shapes(frame)
        if arrays is None:
            with self.stage("decode"):
                arrays = prepare_frame(
                    frame,
                    self.images.augmentation,
                    self.images.size_divisor,
                    mean=self.images.mean,
                )
        clip = ClipBatch(
            img=torch.as_tensor(arrays.img)
            .permute(0, 3, 1, 2)[None, None]
            .to(self.device, non_blocking=True),
            img_shape=arrays.img_shape,
            lidar2img=torch.from_numpy(arrays.lidar2img)[None, None],
            l2g=torch.from_numpy(arrays.l2g)[None, None],
            timestamp=torch.tensor([[arrays.timestamp]], dtype=torch.float64),
            scene_ids=[frame.scene_id] if frame.scene_id is not None else [],
            mean=self.images.mean,
            std=self.images.std,
        )
        batch = clip.normalized().frame(0)
        # The time stamp stays on the host, where sequences are told apart.
        batch.lidar2img = batch.lidar2img.to(self.device, non_blocking=True)
        batch.l2g = batch.l2g.to(self.device, non_blocking=True)
        return batch

    def _boxes(self, output: TrackOutput, frame: Frame) -> Boxes:
        forecasting = output.forecasting
        return to_global(
            output.boxes.numpy(),
            output.scores.numpy(),
            output.labels.numpy(),
            frame.lidar2ego,
            frame.ego2global,
            ids=[f"{sequence}-{number}" for sequence, number in output.obj_ids],
            forecast=None if forecasting is None else forecasting.numpy(),
            classes=self.classes,
        )


def with_tracked_classes(thresholds: Thresholds, classes: Sequence[str]) -> Thresholds:
    """The thresholds with the labels of the tracked classes among ``classes``."""
    tracked = tuple(i for i, name in enumerate(classes) if name in TRACKING_CLASSES)
    return replace(thresholds, tracked_labels=tracked)


@overload
def load_tracker(
    config: str | Path | Config,
    checkpoint: str | Path | Mapping[str, Any] | None = ...,
    device: str | torch.device = ...,
    dtype: str = ...,
    fuse_conv_bn: bool = ...,
    compile: bool | None = ...,
    static: Literal[False] = ...,
) -> Tracker: ...


@overload
def load_tracker(
    config: str | Path | Config,
    checkpoint: str | Path | Mapping[str, Any] | None = ...,
    device: str | torch.device = ...,
    dtype: str = ...,
    fuse_conv_bn: bool = ...,
    compile: bool | None = ...,
    *,
    static: Literal[True],
    slots: int = ...,
    cuda_graph: bool = ...,
) -> StaticTracker: ...


def load_tracker(
    config: str | Path | Config,
    checkpoint: str | Path | Mapping[str, Any] | None = None,
    device: str | torch.device = "auto",
    dtype: str = "fp32",
    fuse_conv_bn: bool = True,
    compile: bool | None = None,
    static: bool = False,
    slots: int = 300,
    cuda_graph: bool = False,
) -> Tracker | StaticTracker:
    """Build a tracker from a configuration and a checkpoint.

    Args:
        config: a file, or a configuration that :func:`load_config` has read.
        checkpoint: a file (weights only, never code), or what it holds; None: random weights.
        device: "cuda", "cuda:1", "cpu"; "auto": a GPU where there is one.
        dtype: fp32, fp16 or bf16.
        fuse_conv_bn: fold batch norms into their convolutions, and compute large 3x3 convolutions
            with fewer products on a CPU in fp32 (not in a static step): faster, other last digits.
        compile: compile backbone, neck and head, of a static tracker the whole step as one graph;
            the first frames are slow. None: only a static tracker.
        static: run the step of fixed shapes (:class:`StaticStep`), for the same tracks.
        slots: of a static tracker, for live tracks.
        cuda_graph: replay a static tracker's step from a recording; on a GPU.

    Raises:
        UserError: an unreadable file, weights of another model, no such device.
    """
    from pftrack import models  # noqa: F401  (registers the components)
    from pftrack.config import load_config

    cfg = load_config(config) if isinstance(config, (str, Path)) else config
    target = find_device(device)
    images = ImageSettings.from_config(cfg)
    classes = class_names(cfg)
    model = build_model(cfg.model)
    if checkpoint is not None:
        report = load_into(model, checkpoint, classes=classes)
        if report.missing or report.mismatched:
            incomplete = "; ".join(report.summary().splitlines()[1:])
            raise UserError(
                f"the checkpoint does not fill the model of {cfg.filename}: {incomplete}"
            )
    model = model.to(target).eval()
    acceleration.precision_context(dtype, target)  # refuses what the device cannot do
    if fuse_conv_bn:
        acceleration.fuse_conv_bn(model)
        if target.type == "cpu" and not static:
            use_winograd(model)
    acceleration.cast_weights(model, dtype)
    model = model.to(memory_format=torch.channels_last)  # the images' own layout
    return_freed()  # of each weight there were several
    if static:
        step = StaticStep(
            model,
            images.augmentation.size,
            images.mean,
            images.std,
            with_tracked_classes(model.thresholds, classes),
            slots,
        )
        return StaticTracker(step, images, classes, dtype, compile is not False, cuda_graph)
    if cuda_graph:
        raise UserError("cuda_graph=True records the static step: give static=True as well")
    if compile:
        acceleration.compile_network(model)
    return Tracker(model, images, classes, dtype)
