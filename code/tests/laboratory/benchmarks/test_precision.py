"""The precision benchmark: a training that was stopped is no curve."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from laboratory.benchmarks import precision
from pftrack.errors import UserError
from pftrack.training import run
from pftrack.training.run import Request


def test_a_stopped_training_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(request: Request) -> int:
        """As training leaves its log: a line about the run, one for each iteration."""
        lines = [{"seed": 0}, *({"loss": 20.0 - k, "time": 0.5} for k in range(3))]
        log = Path(request.work_dir) / "1.log.json"
        log.write_text("\n".join(map(json.dumps, lines)))
        return 0

    monkeypatch.setattr(run, "run_training", train)
    seconds, losses = precision._train_demo(tmp_path, 3, "fp32", 0)
    assert seconds == 0.5 and losses.tolist() == [20, 19, 18]
    with pytest.raises(UserError, match="stopped after 3 of 4 iterations"):
        precision._train_demo(tmp_path, 4, "fp32", 0)
