"""The streaming API on an exported graph, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from pftrack.boxes import Boxes
from pftrack.datasets.frames import FrameArrays, check_shapes, prepare_frame
from pftrack.deployment.description import MEMORY, NEXT, Deployment, read_deployment
from pftrack.deployment.static_stream import StaticStream
from pftrack.errors import UserError
from pftrack.frames import Frame, Track

# A word for each of ONNX Runtime's engines; each falls back on those behind it.
PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": (
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    ),
}


class OnnxTracker:
    """An exported tracker: ``step(frame)`` gives the tracks that :class:`Tracker` gives.

    The memory stays with ONNX Runtime, on the device that it computes on.

    Args:
        folder: what ``make export FORMAT=onnx`` wrote.
        provider: ``cpu``, ``cuda`` or ``tensorrt``.
        threads: for the CPU; None: ONNX Runtime's choice.

    Raises:
        UserError: a folder without a whole export, an engine that this ONNX Runtime lacks.
    """

    def __init__(
        self, folder: str | Path, provider: str = "cpu", threads: int | None = None
    ) -> None:
        self.deployment: Deployment = read_deployment(folder)
        if self.deployment.format != "onnx":
            raise UserError(
                f"{folder} holds an export for {self.deployment.format}: use FORMAT=onnx"
            )
        graph = Path(folder) / self.deployment.graph
        self._session = _open(graph, provider, threads)
        _check_signature(self._session, self.deployment, graph)
        self._device = "cpu" if provider == "cpu" else "cuda"
        self.images = self.deployment.image.settings
        self.classes = tuple(self.deployment.classes)
        self.stage: Any = lambda _name: nullcontext()
        self.reset()

    def reset(self, sequence: int = 0) -> None:
        """Forget all tracks; ids and sequences start again.

        Args:
            sequence: as if so many sequences had been seen.
        """
        self.stream = StaticStream(self.deployment.calibration, sequence)
        self.remember(
            {
                spec.name.removeprefix(MEMORY): np.zeros(spec.shape, spec.dtype)
                for spec in self.deployment.memory
            }
        )

    def remember(self, memory: Mapping[str, np.ndarray]) -> None:
        """Go on from a memory, by the names of :meth:`StaticStep.empty_memory`."""
        import onnxruntime

        self._memory = {
            MEMORY + name: onnxruntime.OrtValue.ortvalue_from_numpy(value, self._device, 0)
            for name, value in memory.items()
        }

    def memory(self) -> dict[str, np.ndarray]:
        """What is remembered, by the same names."""
        return {name.removeprefix(MEMORY): value.numpy() for name, value in self._memory.items()}

    def step(self, frame: Frame, arrays: FrameArrays | None = None) -> list[Track]:
        """Track one more frame: :meth:`step_boxes` as a list of :class:`Track`."""
        return list(self.step_boxes(frame, arrays))

    def step_boxes(self, frame: Frame, arrays: FrameArrays | None = None) -> Boxes:
        """Track one more frame.

        Args:
            frame: the key frame; frames of a sequence in order of time.
            arrays: the frame's arrays, where a loader has prepared them already.

        Returns:
            tracks, best score first, in the global frame; those beyond the range in which nuScenes
            evaluates their class are left out.

        Raises:
            UserError: another number of images than the graph takes, images that cannot be read,
                or matrices of another shape.
        """
        check_shapes(frame)
        cameras = self.deployment.cameras
        if len(frame.images) != cameras:
            raise UserError(
                f"frame {frame.sample_token or frame.timestamp}: {len(frame.images)} images, but "
                f"the exported tracker takes {cameras}"
            )
        if arrays is None:
            with self.stage("decode"):
                arrays = self._arrays(frame)
        if tuple(arrays.img.shape[1:3]) != tuple(self.deployment.image_size):
            raise UserError(
                f"frame {frame.sample_token or frame.timestamp}: images of "
                f"{tuple(arrays.img.shape[1:3])}, but the exported tracker takes "
                f"{tuple(self.deployment.image_size)}: export with the configuration in use"
            )
        inputs = self.stream.inputs(arrays, frame.scene_id)
        with self.stage("step"):
            report = self.run(inputs)
        return self.stream.boxes(report, frame, self.classes)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The graph's report on one frame's inputs; the memory goes on."""
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name, kept in self._memory.items():
            binding.bind_ortvalue_input(name, kept)
        names = [spec.name for spec in self.deployment.outputs]
        for name in names:
            binding.bind_output(name, self._device if name.startswith(NEXT) else "cpu")
        self._session.run_with_iobinding(binding)
        outputs = dict(zip(names, binding.get_outputs(), strict=True))
        self._memory = {name: outputs[NEXT + name.removeprefix(MEMORY)] for name in self._memory}
        return {name: v.numpy() for name, v in outputs.items() if not name.startswith(NEXT)}

    def _arrays(self, frame: Frame) -> FrameArrays:
        """Decoded, resized and cropped as for Pillow, without PyTorch's faster kernel."""
        images = np.zeros((len(frame.images), *self.deployment.image_size, 3), dtype=np.uint8)
        augmentation, divisor = self.images.augmentation, self.images.size_divisor
        return prepare_frame(frame, augmentation, divisor, "pillow", images)


def session_options(provider: str, threads: int | None) -> Any:
    """ONNX Runtime's options for one of :data:`PROVIDERS`; see :class:`OnnxTracker`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: what it could not fold is nobody's business
    if provider == "cpu":
        # One block for a whole frame, planned beforehand, is half as large again as what is
        # needed at a time, and so are blocks that are kept until a tensor of the same size needs
        # them; threads that wait for work by turning in a loop cost more than they win.
        options.enable_mem_pattern = False
        options.enable_mem_reuse = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def _open(graph: Path, provider: str, threads: int | None) -> Any:
    import onnxruntime

    if provider not in PROVIDERS:
        raise UserError(f"unknown provider '{provider}': use {', '.join(PROVIDERS)}")
    there = onnxruntime.get_available_providers()
    if PROVIDERS[provider][0] not in there:
        raise UserError(
            f"provider '{provider}': this ONNX Runtime has {', '.join(there)}; install "
            "onnxruntime-gpu for GPUs, or use cpu"
        )
    try:
        return onnxruntime.InferenceSession(
            str(graph), session_options(provider, threads), list(PROVIDERS[provider])
        )
    except Exception as error:  # ONNX Runtime's own kinds, one for each status code
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"ONNX Runtime does not take {graph}: {reason}") from None


def _check_signature(session: Any, deployment: Deployment, graph: Path) -> None:
    """The graph's inputs and outputs are the described ones."""
    for kind, values, specs in (
        ("inputs", session.get_inputs(), deployment.inputs),
        ("outputs", session.get_outputs(), deployment.outputs),
    ):
        found = {value.name: list(value.shape) for value in values}
        if found != {spec.name: spec.shape for spec in specs}:
            raise UserError(f"{graph}: its {kind} are not those that deployment.json lists")
