"""What would make the host wait for a GPU, on fake CUDA tensors: no GPU is needed.

Fake tensors carry shape, type and device but no values. Whatever needs a value on the host
(``item``, ``nonzero``, a boolean mask as an index) and whatever mixes devices raises.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch._dynamo  # what fake tensors import at first use, here once for all children
from child_process import in_child
from tiny_tracker import clip
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pftrack import geometry
from pftrack.config import load_config
from pftrack.geometry import constant
from pftrack.models.layers.detr3d_attention import project_to_cameras
from pftrack.models.layers.frustum import (
    frustum_points,
    invert_projection,
    lid_depths,
)
from pftrack.models.losses import tracking_loss
from pftrack.models.matching.match_costs import BBox3DL1Cost
from pftrack.models.trackers import tracker
from pftrack.models.trackers.static_step import StaticStep
from pftrack.registry import build_model
from pftrack.structures import ClipBatch

PACKAGE = Path(geometry.__file__).parent
QUERIES, TRACKS, OBJECTS = 500, 7, 3
RANGE = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
CONFIGS = ("petr/f1_q500_800x320", "petr/f3_q500_800x320", "detr3d/f3_q500_800x320")


def succeeds_on_fake_cuda(check: Callable[[], None]) -> bool:
    """In a process of its own: the stand-in for the CUDA driver stays where it was first used."""

    def work() -> None:
        with FakeTensorMode(allow_non_fake_inputs=True):
            check()

    return in_child(work) == 0


def fake_model(config: str) -> Any:
    """A published configuration's model on a GPU that need not exist."""
    with torch.device("cuda"):
        return build_model(load_config(f"projects/configs/tracking/{config}.py").model)


def fake_clip(frames: int, uint8: bool = False) -> ClipBatch:
    """Its frames are known to belong to one scene, as in evaluation."""
    batch = clip([[OBJECTS] * frames])
    if uint8:
        batch = replace(batch, img=batch.img.to(torch.uint8))
    return replace(batch, scene_ids=["scene"]).to("cuda")


def test_a_value_read_on_the_host_is_noticed() -> None:
    def read() -> None:
        with pytest.raises(DataDependentOutputException):
            float(torch.zeros(3, device="cuda").max())

    assert succeeds_on_fake_cuda(read)


@pytest.mark.parametrize("config", CONFIGS)
def test_tracking_waits_for_nothing_before_the_report(config: str) -> None:
    def track() -> None:
        model, batch, reported = fake_model(config).eval(), fake_clip(2), []

        def live_on(instances: Any, memory: Any, pose: Any, *options: Any) -> Any:
            reported.append((len(instances), instances.state.bboxes.device.type))
            tracks = instances.select(torch.arange(TRACKS, device="cuda"))
            return None, replace(memory, tracks=tracks, last=pose)

        memory = None
        with patch.object(tracker, "live_on", live_on):
            for t in range(2):
                _, memory = model.forward_track(batch.frame(t), memory)
        assert reported == [(QUERIES, "cuda"), (QUERIES + TRACKS, "cuda")]

    assert succeeds_on_fake_cuda(track)


class Copies(TorchDispatchMode):
    """Notes the operations that a CUDA graph cannot contain: tensors made on the host, and copies
    between host and device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = op(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor)]
        # A number that takes part in an operation travels with the kernel's arguments.
        if any(t.device.type == "cpu" and t.dim() > 0 for t in tensors):
            self.seen.append(str(op))
        return result


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("padding", [0, 5])
def test_the_static_step_stays_on_the_device(config: str, padding: int) -> None:
    def step() -> None:
        model = fake_model(config).eval()
        static = StaticStep(model, (320 - padding, 800 - padding), (0.0,) * 3, (1.0,) * 3)
        frame = {
            "images": torch.zeros(6, 320, 800, 3, dtype=torch.uint8),
            "calibration": torch.eye(4).repeat(6, 1, 1),
            "ego_motion": torch.eye(4),
            "seconds": torch.zeros(1),
            "new_sequence": torch.zeros(1, dtype=torch.bool),
        }
        frame = {name: value.to("cuda") for name, value in frame.items()}
        with torch.no_grad():
            _, memory = static(frame, static.empty_memory(frame))  # fills what is kept
            with Copies() as copies:
                report, memory = static(frame, memory)
                assert copies.seen == []
                torch.zeros(3, device="cuda").cpu()
                assert len(copies.seen) == 1
        assert {v.device.type for v in (*report.values(), *memory.values())} == {"cuda"}
        assert report["boxes"].shape == (model.bbox_coder.max_num, 9)

    assert succeeds_on_fake_cuda(step)


class BlockingCopies(TorchDispatchMode):
    """Collects the copies of values from the host that wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = op(*args, **kwargs)
        name = op.overloadpacket.__name__
        to_gpu = isinstance(out, Tensor) and out.device.type == "cuda"
        if name == "_to_copy" and to_gpu and not kwargs.get("non_blocking"):
            self._note(name, args[:1])
        elif name == "copy_" and to_gpu and not (len(args) > 2 and args[2]):
            self._note(name, args[1:2])
        elif name in ("index", "index_put_", "index_put") and to_gpu:
            self._note(name, [i for i in args[1] if i is not None])
        return out

    def _note(self, name: str, sources: Sequence[Tensor]) -> None:
        if any(s.device.type == "cpu" and s.dim() for s in sources):
            own = [f for f in traceback.extract_stack() if f.filename.startswith(str(PACKAGE))]
            self.found.append(f"{name}: {own[-1].filename}:{own[-1].lineno}" if own else name)


def test_a_blocking_copy_is_noticed() -> None:
    def copy() -> None:
        with BlockingCopies() as copies:
            constant((1.0, 2.0), torch.float32, torch.device("cuda"))
            assert len(copies.found) == 1
            constant((1.0, 2.0), torch.float32, torch.device("cuda"))
            torch.zeros(3, device="cuda")[[0, 2]]
        assert len(copies.found) == 2

    assert succeeds_on_fake_cuda(copy)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_frame_copies_nothing_that_waits(config: str) -> None:
    def track() -> None:
        model, batch = fake_model(config).eval(), fake_clip(3, uint8=True)

        def live_on(instances: Any, memory: Any, pose: Any, *options: Any) -> Any:
            tracks = instances.select(torch.arange(TRACKS, device="cuda"))
            return None, replace(memory, tracks=tracks, last=pose)

        memory = None
        with patch.object(tracker, "live_on", live_on):
            for t in range(2):  # the first two frames copy the constants
                _, memory = model.forward_track(batch.normalized().frame(t), memory)
            with BlockingCopies() as copies:
                model.forward_track(batch.normalized().frame(2), memory)
        assert copies.found == []

    assert succeeds_on_fake_cuda(track)


class MatrixProducts(TorchDispatchMode):
    """Counts the operations that GPUs may compute in TF32."""

    NAMES = ("mm", "bmm", "addmm", "baddbmm", "convolution", "matmul", "linear")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += op.overloadpacket.__name__ in self.NAMES
        return op(*args, **(kwargs or {}))


def test_positions_and_assignment_take_no_matrix_products() -> None:
    """TF32 has 11 bits, 3 cm at 60 m: no projection, ego motion or cost may be computed in it
    (and without a product forward there is none in the backward pass)."""

    def positions() -> None:
        pose = torch.eye(4, device="cuda")
        points = torch.zeros(TRACKS, 3, device="cuda")
        lidar2img = torch.eye(4, dtype=torch.float64, device="cuda").expand(1, 6, 4, 4)
        codes = torch.zeros(2, TRACKS, 10, device="cuda")
        with MatrixProducts() as products:
            moved = geometry.change_lidar_frame(points, pose, pose)
            geometry.transform_points(moved, pose)
            depths = lid_depths(8, 1.0, 60.0, "cuda")
            frustum_points(invert_projection(lidar2img), (4, 10), (64, 160), depths, RANGE)
            project_to_cameras(points[None], lidar2img, (64, 160), RANGE)
            BBox3DL1Cost()(codes, codes[0])
            assert products.count == 0
            torch.zeros(2, 3, device="cuda") @ torch.zeros(3, 2, device="cuda")
            assert products.count == 1

    assert succeeds_on_fake_cuda(positions)


@pytest.mark.parametrize("config", CONFIGS)
def test_training_waits_once_a_frame_for_the_costs_of_all_layers(config: str) -> None:
    frames = 1 if "f1" in config else 3

    def train() -> None:
        model, batch, transfers = fake_model(config).train(), fake_clip(frames), []
        model.grid_mask = None  # drawn on the host, from values

        def to_host(costs: Sequence[Tensor], carried: Sequence[Tensor]) -> Any:
            transfers.append([tuple(c.shape) for c in costs])
            return [np.zeros(c.shape) for c in costs], [np.full(len(c), -1) for c in carried]

        def to_device(array: np.ndarray, device: torch.device) -> Tensor:
            return torch.zeros(array.shape, dtype=torch.int64, device=device)

        with patch.multiple(tracking_loss, _to_host=to_host, _to_device=to_device):
            losses = model.forward_train(batch)
        total = sum(value for name, value in losses.items() if "loss" in name)
        assert isinstance(total, Tensor) and total.device.type == "cuda"
        tracks = 0 if frames == 1 else OBJECTS
        assert transfers == [[(6, QUERIES + tracks * (t > 0), OBJECTS)] for t in range(frames)]

    assert succeeds_on_fake_cuda(train)
