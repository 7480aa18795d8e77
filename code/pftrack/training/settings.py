"""Training settings as typed values: the schema that mm_config.py reads configuration files by.

A new setting is one field here, under the name it has in the file (:func:`at`: below a section of
the file), and its line in docs/training.md.
"""

# ruff: noqa: RUF009 (what at() returns is what dataclasses take for a default)
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from pftrack.values import AtLeastOne, NotNegative, Positive, Share

Count = Annotated[int, Meta(ge=0)]
Workers = Annotated[int, Meta(ge=0, le=256)]  # more only cost memory
Seed = Annotated[int, Meta(ge=0, lt=2**32)]
PositiveOrInfinite = Annotated[float, Meta(gt=0)]


def at(path: str, default: Any) -> Any:
    """A field whose setting is at the dotted ``path`` in a configuration file."""
    return field(default=default, metadata={"at": path})


@dataclass(frozen=True)
class ParamRule:
    """Multipliers for parameters whose name contains the rule's key."""

    lr_mult: NotNegative = 1.0
    decay_mult: NotNegative = 1.0


@dataclass(frozen=True)
class OptimizerSettings:
    """``optimizer``: a class of torch.optim and its arguments; rules by parameter name."""

    type: str
    lr: Positive
    weight_decay: NotNegative = 0.0
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, ParamRule] = field(default_factory=dict)


@dataclass(frozen=True)
class ScheduleSettings:
    """``lr_config``, with mmcv's meaning of every key (training/schedule.py)."""

    policy: str = "fixed"
    by_epoch: bool = True
    warmup: str | None = None
    warmup_iters: Count = 0
    warmup_ratio: Share = 0.1
    warmup_by_epoch: bool = False
    min_lr: NotNegative | None = None
    min_lr_ratio: Share | None = None
    step: tuple[Count, ...] = ()
    gamma: Positive = 0.1


@dataclass(frozen=True)
class CheckpointSettings:
    """``checkpoint_config``. ``snapshot_minutes``: how much work a kill may cost; 0: never."""

    interval: AtLeastOne = 1
    by_epoch: bool = True
    max_keep_ckpts: int = -1
    snapshot_minutes: NotNegative = 15.0


@dataclass(frozen=True)
class EvaluationSettings:
    """``evaluation``: every ``interval`` epochs from ``start`` on; 0: never."""

    interval: Count = 0
    start: Count = 0
    save_best: str | None = "amota"


@dataclass(frozen=True)
class NanGuardSettings:
    """``nan_guard``: what a non-finite loss does; ``max_skips`` in a row end the training."""

    action: str = "stop"
    max_skips: Count = 10


@dataclass(frozen=True)
class TrainSettings:
    """Everything the loop reads from a configuration file.

    Attributes:
        max_epochs: ``runner.max_epochs`` or ``total_epochs``.
        precision: of the network's products: fp32, fp16 or bf16; geometry and losses are fp32.
        tf32: in fp32, GPUs that have TF32 multiply in it, as the published training did.
        loss_scale: where it begins under fp16, or 'dynamic'.
        states_fp16: the configuration names mm's Fp16OptimizerHook or ``fp16``.
        tensorboard: ``log_config.hooks`` names TensorboardLoggerHook, or nothing.
        cudnn_benchmark: images have one size, so cuDNN may look for its fastest algorithms; None:
            in half precision alone (in fp32 the search took 70 GiB of an H100, docs/gpus.md).
        workers_per_gpu: None: as many as the cores allow, at most 8.
        compile: parts of the model; True: backbone and head.
        notes: lines that name what the file states without effect, for the log.
    """

    optimizer: OptimizerSettings
    max_epochs: AtLeastOne
    max_iters: AtLeastOne | None = at("runner.max_iters", None)
    schedule: ScheduleSettings = at("lr_config", ScheduleSettings())
    grad_clip: Positive | None = at("optimizer_config.grad_clip.max_norm", None)
    grad_norm_type: PositiveOrInfinite = at("optimizer_config.grad_clip.norm_type", 2.0)
    precision: str = "fp32"
    tf32: bool = True
    states_fp16: bool = False
    loss_scale: float | str | Mapping[str, float] = 512.0
    checkpoint: CheckpointSettings = at("checkpoint_config", CheckpointSettings())
    evaluation: EvaluationSettings = EvaluationSettings()
    nan_guard: NanGuardSettings = NanGuardSettings()
    log_interval: AtLeastOne = at("log_config.interval", 50)
    tensorboard: bool = True
    seed: Seed = 0
    deterministic: bool = False
    cudnn_benchmark: bool | None = None
    samples_per_gpu: AtLeastOne = at("data.samples_per_gpu", 1)
    workers_per_gpu: Workers | None = at("data.workers_per_gpu", None)
    load_from: str | None = None
    resume_from: str | None = None
    find_unused_parameters: bool = False
    static_graph: bool = False
    channels_last: bool = True
    compile: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
