"""The evaluations of a finished training: commands to run, and the metrics they leave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pftrack.retraining.record import DETECTION, TRACKING
from pftrack.tracking.job import RUN_FILE

TOOLS = {"tracking": "tools/eval.py", "detection": "tools/detect.py"}


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of one checkpoint on the val split.

    Attributes:
        task: ``tracking`` or ``detection``.
        folder: where results, metrics and report go.
        overrides: ``a.b=c`` changes of the configuration.
    """

    task: str
    config: Path
    checkpoint: Path
    folder: Path
    overrides: tuple[str, ...] = ()

    def command(self, gpus: int) -> list[str]:
        """What to run in ``code/``, without the interpreter."""
        command = [TOOLS[self.task], str(self.checkpoint), "--config", str(self.config)]
        command += ["--gpus", str(gpus), "--work-dir", str(self.folder)]
        return [*command, *(["--cfg-options", *self.overrides] if self.overrides else [])]

    def is_done(self) -> bool:
        """True when the folder holds the metrics of exactly this checkpoint and configuration."""
        run_file, metrics = self.folder / RUN_FILE, self.folder / "metrics_summary.json"
        try:
            job = json.loads(run_file.read_text(encoding="utf-8"))["job"]
            same = (job["checkpoint"], job["overrides"]) == (
                str(self.checkpoint),
                list(self.overrides),
            )
            begun = max(run_file.stat().st_mtime_ns, self.checkpoint.stat().st_mtime_ns)
            return same and metrics.stat().st_mtime_ns >= begun
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def metrics(self) -> dict[str, float]:
        """Metrics under the record's names; NaN where undefined."""
        names = TRACKING if self.task == "tracking" else DETECTION
        summary = self._summary()
        return {name: float(summary[key]) for name, key in names.items()}

    def class_amota(self) -> dict[str, float]:
        """AMOTA by class; {} for detection."""
        if self.task != "tracking":
            return {}
        return {k: float(v) for k, v in self._summary()["label_metrics"]["amota"].items()}

    def _summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "metrics_summary.json").read_text(encoding="utf-8"))
