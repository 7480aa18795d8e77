"""Tracks all scenes of a split: in this process, or sharded over several.

Every scene starts from an empty tracker and its track ids carry the scene's number in the split,
so the results do not depend on how scenes are spread over processes, nor on interruptions.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pftrack.errors import UserError
from pftrack.live import FOLDER, LiveProgress
from pftrack.locks import locked
from pftrack.processes import end_with_parent
from pftrack.tracking.job import (
    DataCheck,
    InferenceJob,
    Report,
    build_split,
    job_identity,
)
from pftrack.tracking.scene_results import (
    SceneResult,
    SceneStore,
    write_results,
)
from pftrack.tracking.sharding import balance


@dataclass
class InferenceRun:
    """Outcome of :func:`run_inference`.

    Attributes:
        result_path: submission file.  frames, scenes: in it.
        seconds: time by stage, summed over processes and interrupted runs.
        wall_seconds: of this call.
        boxes: in the file.  not_finite: instances left out because their numbers were not finite.
        version, data_root: nuScenes version and folder of the data.  split: name or file.
    """

    result_path: Path
    frames: int
    scenes: int
    version: str
    data_root: str
    split: str = "val"
    wall_seconds: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    boxes: int = 0
    not_finite: int = 0

    @property
    def nothing_found(self) -> str | None:
        """A line that says so, where there is not a single box."""
        if self.boxes:
            return None
        return f"0 boxes in {self.frames} frames, {self.not_finite} instances not finite"


def run_inference(
    job: InferenceJob,
    devices: list[str],
    out_dir: str | Path,
    keep_scenes: bool = False,
    check: DataCheck | None = None,
) -> InferenceRun:
    """Track every scene of the split and write ``<out_dir>/results_nusc.json``.

    Scenes finished by an earlier, interrupted call with the same job are not run again.

    Args:
        devices: one per process; a single one runs in this process.
        keep_scenes: leave the files of single scenes behind.
        check: what is done with the results later is asked for before the work begins.

    Raises:
        UserError: anything wrong with configuration, checkpoint or data, from any process.
    """
    start = time.perf_counter()
    out_dir = Path(out_dir)
    with locked(out_dir):
        dataset = build_split(job)
        if check is not None:
            check(str(dataset.data_root), dataset.version)
        return _run_inference(job, dataset, devices, out_dir, keep_scenes, start)


def _run_inference(
    job: InferenceJob,
    dataset: Any,
    devices: list[str],
    out_dir: Path,
    keep_scenes: bool,
    start: float,
) -> InferenceRun:
    from tqdm import tqdm

    identity = job_identity(job, dataset)
    store = SceneStore(out_dir, identity)
    lengths = {scene: len(indices) for scene, indices in dataset.scenes.items()}
    todo = {scene: n for scene, n in lengths.items() if store.load(scene) is None}
    done = len(dataset) - sum(todo.values())
    with (
        tqdm(total=len(dataset), initial=done, desc=job.task, unit="frame", smoothing=0.1) as bar,
        LiveProgress(out_dir / FOLDER, len(dataset), done) as live,
    ):

        def report(count: int) -> None:
            bar.update(count)
            live.update(count)

        if todo and len(devices) == 1:
            work_on_scenes(job, dataset, list(todo), devices[0], store, report)
        elif todo:
            _run_processes(job, balance(todo, len(devices)), devices, out_dir, identity, report)

    seconds: dict[str, float] = {}
    counts = {"boxes": 0, "not_finite": 0}

    def finished() -> Iterable[SceneResult]:
        for scene in lengths:
            result = store.load(scene)
            if result is None:
                raise RuntimeError(f"scene {scene} has no result in {store.folder}")
            for stage, spent in result.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
            counts["boxes"] += sum(map(len, result.boxes.values()))
            counts["not_finite"] += result.not_finite
            yield result

    path = out_dir / "results_nusc.json"
    write_results(path, finished())
    if not keep_scenes:
        store.remove()
    return InferenceRun(
        result_path=path,
        frames=len(dataset),
        scenes=len(lengths),
        version=dataset.version,
        data_root=str(dataset.data_root),
        split=dataset.split or job.split,
        wall_seconds=time.perf_counter() - start,
        seconds=seconds,
        **counts,
    )


def work_on_scenes(
    job: InferenceJob,
    dataset: Any,
    scenes: list[str],
    device: str,
    store: SceneStore,
    report: Report,
) -> None:
    """Run some scenes, as many at once as the job says, storing each when it is finished."""
    from pftrack.tracking.scene_runner import SceneRunner

    for scene, result in SceneRunner(job, dataset, device).run(scenes, report):
        store.save(scene, result)


def _run_processes(
    job: InferenceJob,
    shards: list[list[str]],
    devices: list[str],
    out_dir: Path,
    identity: dict[str, Any],
    report: Report,
) -> None:
    """One process per device; ends them all when one fails."""
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    if set(devices) == {"cpu"}:
        # Read by the children when they import torch; explicit settings win.
        cores = os.cpu_count() or 1
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // len(devices))))
    workers = [
        context.Process(
            target=run_worker, args=(job, scenes, device, out_dir, identity, messages), daemon=True
        )
        for scenes, device in zip(shards, devices, strict=True)
        if scenes
    ]
    for worker in workers:
        worker.start()
    finished = 0
    try:
        while finished < len(workers):
            try:
                kind, value = messages.get(timeout=1.0)
            except queue.Empty:
                dead = [w for w in workers if w.exitcode not in (None, 0)]
                if dead and messages.empty():
                    raise RuntimeError(
                        f"an inference process ended with status {dead[0].exitcode}; finished "
                        f"scenes are kept, start again to continue"
                    ) from None
                continue
            if kind == "frames":
                report(value)
            elif kind == "done":
                finished += 1
            elif kind == "user error":
                raise UserError(value)
            else:
                raise RuntimeError(f"an inference process failed:\n{value}")
    finally:
        for worker in workers:
            if finished < len(workers):
                worker.terminate()
            worker.join()


def run_worker(
    job: InferenceJob,
    scenes: list[str],
    device: str,
    out_dir: Path,
    identity: dict[str, Any],
    messages: Any,
) -> None:
    """A process's whole life.

    Args:
        messages: queue of (kind, value): ``frames`` done since the last, then one of ``done``,
            ``user error`` with its line, ``error`` with a traceback.
    """
    import signal
    import traceback

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C
    end_with_parent()
    try:
        store = SceneStore(out_dir, identity)
        work_on_scenes(
            job, build_split(job), scenes, device, store, lambda n: messages.put(("frames", n))
        )
        messages.put(("done", None))
    except UserError as error:
        messages.put(("user error", str(error)))
    except Exception:
        messages.put(("error", traceback.format_exc()))
