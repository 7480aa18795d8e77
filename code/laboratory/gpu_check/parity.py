"""The same numbers as on the CPU, stage by stage: every stage gets the CPU's inputs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from laboratory.gpu_check.setting import (
    Result,
    Setting,
    configuration,
    image_size,
    seeded_model,
)
from laboratory.parity.models import training_without_chance
from laboratory.parity.weights import fill
from laboratory.synthetic import noise_clip
from pftrack.models.acceleration import precision_context
from pftrack.models.trackers.track_instances import TensorRecord
from pftrack.training.process import allow_tf32

TRACKS = 60
# Largest difference over the largest value. TF32 and half precision: what their digits allow.
BOUNDS = {"fp32": 1e-3, "tf32": 2e-2, "fp16": 2e-2, "bf16": 1e-1}


def stages_like_the_cpu(config: str, setting: Setting) -> Result:
    """Backbone and neck, head, past and future reasoning of a tracked frame, in each precision.

    DETR3D's head is shown, not judged: it looks where its boxes project to, and its layers amplify
    last digits a thousandfold (docs/designs.md).
    """
    projects = configuration(config).model.pts_bbox_head.type.startswith("DETR3D")
    model, inputs, expected = _reference(config)
    result = Result({})
    if setting.on_gpu:
        model = model.to(setting.device)
    for name in BOUNDS:
        if name == "tf32" and not setting.on_gpu:
            continue
        found = _run_stages(model, inputs, setting, name)
        for stage, value in found.items():
            error = _relative_error(value, expected[stage])
            result.values[f"{stage}, {name}"] = error
            judged = not (projects and stage.startswith("head"))
            result.demand(
                not judged or error <= BOUNDS[name],
                f"{stage} in {name} is {error:.1e} from the CPU's, bound {BOUNDS[name]:.0e}",
            )
    return result


def losses_like_the_cpu(config: str, setting: Setting) -> Result:
    """Losses and gradient norm of one training step without dropout, fp32."""
    cfg = configuration(config)
    clip = noise_clip(image_size(cfg), cfg.data.train.num_frames_per_sample, objects=10)
    losses: dict[str, dict[str, float]] = {}
    for device in {"cpu", setting.device.type}:
        model = seeded_model(cfg, Setting(torch.device("cpu")))
        fill(model)
        model = model.to(device)
        with training_without_chance(model), _exact(setting):
            found = model(clip.to(device).normalized())
            total = sum(v for k, v in found.items() if "loss" in k)
            total.backward()
        squares = [p.grad.double().square().sum() for p in model.parameters() if p.grad is not None]
        losses[device] = {k: v.item() for k, v in found.items()}
        losses[device]["gradient norm"] = torch.stack(squares).sum().sqrt().item()
    ours, cpu = losses[setting.device.type], losses["cpu"]
    errors = {k: abs(ours[k] - v) / max(abs(v), 1e-3) for k, v in cpu.items()}
    worst = max(errors, key=lambda k: errors[k])
    result = Result(
        {
            "loss": sum(v for k, v in ours.items() if "loss" in k),
            "gradient norm": ours["gradient norm"],
            "worst": worst,
            "relative error": errors[worst],
        }
    )
    result.demand(errors[worst] <= 1e-2, f"{worst} is {errors[worst]:.1e} from the CPU's")
    return result


def _reference(config: str) -> tuple[Any, dict[str, Any], dict[str, Tensor]]:
    """The model on the CPU, what each stage of its second frame gets, and what it returns."""
    cfg = configuration(config)
    model = seeded_model(cfg, Setting(torch.device("cpu"))).eval()
    fill(model)
    clip = noise_clip(image_size(cfg), 2).normalized()
    sure = replace(model.thresholds, score_threshold=-1.0, record_threshold=-1.0)
    with torch.no_grad():
        _, memory = model.forward_track(clip.frame(0), thresholds=sure)
        assert memory.tracks is not None
        tracks = memory.tracks.select(torch.arange(min(TRACKS, len(memory.tracks))))
        tracks = model.move(tracks, clip.frame(0).pose, clip.frame(1).pose)
    inputs: dict[str, Any] = {"frame": clip.frame(1), "tracks": tracks}
    inputs["feats"] = model.extract_feats(clip.frame(1).img)
    cpu = Setting(torch.device("cpu"))
    expected = _run_stages(model, inputs, cpu, "fp32", keep=inputs)
    return model, inputs, expected


@torch.no_grad()
def _run_stages(
    model: Any,
    inputs: dict[str, Any],
    setting: Setting,
    precision: str,
    keep: dict[str, Any] | None = None,
) -> dict[str, Tensor]:
    """What every stage returns, on the CPU; ``keep`` collects the instances between stages."""
    device, outputs = setting.device, {}
    frame = _move_frame(inputs["frame"], device)
    with (
        _exact(setting, tf32=precision == "tf32"),
        precision_context("fp32" if precision == "tf32" else precision, device),
    ):
        feats = model.extract_feats(frame.img)
        outputs["backbone and neck"] = feats[0]
        instances = model.with_detection_queries(to_device(inputs["tracks"], device))
        head = model.detect([level.to(device) for level in inputs["feats"]], frame, instances)
        outputs["head logits"], outputs["head boxes"] = head.all_cls_scores, head.all_bbox_preds
        if keep is not None:
            keep["instances"] = model.STReasoner.frame_shift(model.remember(instances, head))
        shifted = to_device(inputs["instances"], device)
        reasoner = model.STReasoner
        if reasoner.history_reasoning:
            shifted = reasoner.refine(shifted)
            outputs["past logits"], outputs["past boxes"] = (
                shifted.cache.logits,
                shifted.cache.bboxes,
            )
        if reasoner.future_reasoning:
            outputs["future"] = reasoner.forecast(
                to_device(inputs["instances"], device)
            ).cache.motion_predictions
    return {name: value.float().cpu() for name, value in outputs.items()}


def to_device(record: Any, device: torch.device) -> Any:
    """A record of tensors on another device."""
    moved = {
        name: to_device(value, device) if isinstance(value, TensorRecord) else value.to(device)
        for name, value in record._items()
    }
    return type(record)(**moved)


def _move_frame(frame: Any, device: torch.device) -> Any:
    moved = copy.copy(frame)
    moved.img, moved.lidar2img = frame.img.to(device), frame.lidar2img.to(device)
    return moved


def _relative_error(value: Tensor, expected: Tensor) -> float:
    return ((value - expected).abs().max() / expected.abs().max()).item()


@contextmanager
def _exact(setting: Setting, tf32: bool = False) -> Iterator[None]:
    """float32 products with all their digits, or in TF32."""
    before = torch.backends.cuda.matmul.allow_tf32
    allow_tf32(tf32)
    try:
        yield
    finally:
        allow_tf32(before)
