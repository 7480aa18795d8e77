"""Evaluations during training: when they are due, which was the best."""

from __future__ import annotations

import json
import os
from pathlib import Path

from projects.tracking_plugin.training.settings import EvaluationSettings


class EvaluationHistory:
    """Metrics by epoch, kept in ``evaluations.json`` of the work dir: survives any kill."""

    def __init__(self, folder: Path, settings: EvaluationSettings) -> None:
        self.path = folder / "evaluations.json"
        self.settings = settings

    def read(self) -> dict[int, dict[str, float]]:
        if not self.path.is_file():
            return {}
        return {int(epoch): m for epoch, m in json.loads(self.path.read_text()).items()}

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
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(history, indent=1))
        os.replace(temporary, self.path)
        return name in metrics and metrics[name] > max(earlier, default=float("-inf"))
