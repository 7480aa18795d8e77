"""What an inference run is asked to do, and everything its numbers depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from projects.tracking_plugin.errors import UserError
from projects.tracking_plugin.inference.scene_results import file_identity

# Called with the number of frames done since the last call.
Report = Callable[[int], None]


@dataclass(frozen=True)
class InferenceJob:
    """What to run, as plain values that travel to other processes.

    Attributes:
        config: configuration file.  overrides: ``key=value`` changes to it.
        checkpoint: weights.
        split: ``val``, ``train`` or ``test``, a section of ``data`` in the configuration.
        task: ``tracking``, or ``detection``: every frame on its own, all ten classes.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        fuse_conv_bn: fold batch norms into the convolutions before them.
        compile: run the network through ``torch.compile``.
    """

    config: str
    checkpoint: str
    split: str = "val"
    overrides: tuple[str, ...] = ()
    task: Literal["tracking", "detection"] = "tracking"
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    fuse_conv_bn: bool = False
    compile: bool = False


def build_split(job: InferenceJob) -> Any:
    """The dataset of a job's split, in test mode.

    Raises:
        UserError: from the configuration or the info file.
    """
    from projects.tracking_plugin.config import load_config
    from projects.tracking_plugin.datasets.loader import build_dataset

    cfg = load_config(job.config, list(job.overrides))
    if job.split == "test":
        val = str(cfg.data["val"]["ann_file"])
        name = Path(val).name.replace("infos_val", "infos_test")
        return build_dataset(cfg, "test", ann_file=str(Path(val).with_name(name)))
    if job.split not in cfg.data:
        raise UserError(f"the configuration {job.config} has no split '{job.split}'")
    return build_dataset(cfg, job.split, test_mode=True)


def job_identity(job: InferenceJob, dataset: Any) -> dict[str, Any]:
    """Everything the results of ``job`` on its split depend on (:class:`SceneStore`)."""
    return {
        **asdict(job),
        "config": _config_text(job),
        "checkpoint": file_identity(job.checkpoint),
        "infos": [str(info["token"]) for info in (dataset.infos[0], dataset.infos[-1])],
        "frames": len(dataset),
    }


def _config_text(job: InferenceJob) -> str:
    from projects.tracking_plugin.config import load_config

    return str(load_config(job.config, list(job.overrides))._cfg_dict)
