"""Evaluations during training: tracking the val split, when it is due, which was the best."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pftrack.files import atomic, read_json
from pftrack.training import distributed
from pftrack.training.distributed import World
from pftrack.training.settings import EvaluationSettings

EVALUATIONS = "evaluations.json"


@dataclass(frozen=True)
class TrackingEvaluation:
    """Tracks the val split with a checkpoint, whole scenes spread over the processes.

    Scenes finished before an interruption are not run again. Processes on several nodes need the
    work dir on a shared file system.

    Attributes:
        overrides: of the configuration, ``a.b=c``.  precision: of the network, the training's.
        folder: results and metrics go to ``<folder>/<name of the checkpoint>``.
    """

    config_file: Path
    overrides: tuple[str, ...]
    folder: Path
    precision: str = "fp32"

    def __call__(self, checkpoint: Path, world: World) -> dict[str, float]:
        """The metrics (``amota``, ``amotp``, ...) on the main process, {} on the others."""
        from pftrack.evaluation.files import write_metrics
        from pftrack.evaluation.run import evaluate_file
        from pftrack.tracking.runner import (
            InferenceJob,
            build_split,
            job_identity,
            run_inference,
            work_on_scenes,
        )
        from pftrack.tracking.scene_results import SceneStore
        from pftrack.tracking.sharding import balance

        job = InferenceJob(
            str(self.config_file),
            str(checkpoint),
            "val",
            self.overrides,
            precision=self.precision,
        )
        out_dir = self.folder / checkpoint.stem
        if world.size > 1:
            try:
                dataset = build_split(job)
                store = SceneStore(out_dir, job_identity(job, dataset))
                lengths = {scene: len(indices) for scene, indices in dataset.scenes.items()}
                mine = balance(lengths, world.size)[world.rank]
                todo = [scene for scene in mine if store.load(scene) is None]
                work_on_scenes(job, dataset, todo, str(world.device), store, lambda frames: None)
            finally:  # the others wait, whatever happened here
                distributed.barrier()
        if not world.is_main:
            return {}
        run = run_inference(job, [str(world.device)], out_dir)  # finds the scenes already done
        evaluation = evaluate_file(run.result_path, run.data_root, run.version, run.split)
        summary = write_metrics(evaluation, out_dir)
        return {name: float(v) for name, v in summary.items() if isinstance(v, (int, float))}


def read_evaluations(work_dir: Path) -> dict[int, dict[str, float]]:
    """Metrics by epoch of a training; {} where none was evaluated.

    Raises:
        UserError: the file is damaged.
    """
    path = work_dir / EVALUATIONS
    if not path.is_file():
        return {}
    remedy = "delete it, or correct it"
    return read_json(path, dict[int, dict[str, float]], "the list of evaluations", remedy)


class EvaluationHistory:
    """Metrics by epoch, kept in ``evaluations.json`` of the work dir: survives any kill."""

    def __init__(self, folder: Path, settings: EvaluationSettings) -> None:
        self.path = folder / EVALUATIONS
        self.settings = settings

    def read(self) -> dict[int, dict[str, float]]:
        return read_evaluations(self.path.parent)

    def is_due(self, epoch: int) -> bool:
        """True after whole epoch ``epoch`` when the settings ask for it and it was not done."""
        settings = self.settings
        if settings.interval <= 0 or epoch == 0 or epoch < settings.start:
            return False
        return epoch % settings.interval == 0 and epoch not in self.read()

    def add(self, epoch: int, metrics: dict[str, float]) -> bool:
        """Record an evaluation. Returns True when it is the best so far by ``save_best``."""
        history = self.read()
        name = self.settings.save_best
        earlier = [values[name] for values in history.values() if name in values]
        history[epoch] = metrics
        with atomic(self.path) as file:
            file.write(json.dumps(history, indent=1))
        return name in metrics and metrics[name] > max(earlier, default=float("-inf"))
