"""What an inference run is asked to do, and everything its numbers depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pftrack.deployment.description import DEPLOYMENT_FILE
from pftrack.errors import UserError
from pftrack.tracking.scene_results import file_identity

RUN_FILE = "run.json"  # beside a results file: how it was made
# Called with the number of frames done since the last call.
Report = Callable[[int], None]
# Called with the data's folder and version; raises UserError where they will not do.
DataCheck = Callable[[str, str], object]


@dataclass(frozen=True)
class InferenceJob:
    """What to run, as plain values that travel to other processes.

    Attributes:
        config: configuration file.  overrides: ``key=value`` changes to it.
        checkpoint: weights.
        split: ``val``, ``train``, ``test``, or another one by name or file
            (:mod:`pftrack.nuscenes.splits`).
        task: ``tracking``, or ``detection``: every frame on its own, all ten classes.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        fuse_conv_bn: fold batch norms into the convolutions before them, and compute large ones
            with fewer products on a CPU in fp32.
        compile: run the network through ``torch.compile``.
        section: of ``data`` in the configuration that describes the split; None: that of its name.
        engine: what runs the network: ``torch``; ``static``: PyTorch with the step of fixed shapes;
            ``onnx``: ONNX Runtime.
        deployment: folder of the export that ``onnx`` runs.
        streams: scenes that one process tracks at once, one backbone call for all.

    Raises:
        UserError: several streams for an engine or task that knows one only.
    """

    config: str
    checkpoint: str
    split: str = "val"
    overrides: tuple[str, ...] = ()
    task: Literal["tracking", "detection"] = "tracking"
    precision: str = "fp32"
    fuse_conv_bn: bool = True
    compile: bool = False
    section: str | None = None
    engine: Literal["torch", "static", "onnx"] = "torch"
    deployment: str | None = None
    streams: int = 1

    def __post_init__(self) -> None:
        if self.streams < 1:
            raise UserError(f"--streams {self.streams}: at least one")
        if self.streams > 1 and (self.engine, self.task) != ("torch", "tracking"):
            raise UserError(
                f"--streams {self.streams}: only tracking by the engine torch takes several scenes "
                f"at once, not {self.task} by the engine {self.engine}"
            )


def build_split(job: InferenceJob) -> Any:
    """The dataset of a job's split, in test mode.

    Raises:
        UserError: from the configuration or the info file.
    """
    from pftrack.config import load_config
    from pftrack.datasets.build import build_dataset

    cfg = load_config(job.config, list(job.overrides))
    if job.split == "test":
        val = str(cfg.data["val"]["ann_file"])
        name = Path(val).name.replace("infos_val", "infos_test")
        return build_dataset(cfg, "test", ann_file=str(Path(val).with_name(name)))
    section = job.section or job.split
    if section in cfg.data:
        return build_dataset(cfg, section, test_mode=True)
    if job.split in ("train", "val"):
        raise UserError(f"the configuration {job.config} has no split '{section}'")
    return build_dataset(cfg, "val", test_mode=True, split=job.split)


def tracking_section(config: str, overrides: Sequence[str] = ()) -> tuple[str | None, str | None]:
    """Where a configuration says what is tracked: ``test_tracking``, as the original's have it.

    Returns:
        ``test_tracking`` or None (``val``), and a line to print: some of the original's files name
        an info file there that its converter no longer writes, unlike ``val``.
    """
    from pftrack.config import load_config

    data = load_config(config, list(overrides)).get("data") or {}
    named, val = (str((data.get(s) or {}).get("ann_file")) for s in ("test_tracking", "val"))
    if "test_tracking" not in data:
        return None, None
    if not Path(named).is_file() and Path(val).is_file():
        return None, f"data.test_tracking in {config}: no info file {named}, using data.val's {val}"
    return "test_tracking", None


def job_identity(job: InferenceJob, dataset: Any) -> dict[str, Any]:
    """Everything the results of ``job`` on its split depend on (:class:`SceneStore`)."""
    return {
        **asdict(job),
        "config": _config_text(job),
        "checkpoint": file_identity(job.checkpoint),
        "deployment": job.deployment and file_identity(Path(job.deployment) / DEPLOYMENT_FILE),
        "infos": [str(info["token"]) for info in (dataset.infos[0], dataset.infos[-1])],
        "frames": len(dataset),
        "scenes": list(dataset.scenes),
    }


def _config_text(job: InferenceJob) -> str:
    from pftrack.config import load_config

    return str(load_config(job.config, list(job.overrides))._cfg_dict)
