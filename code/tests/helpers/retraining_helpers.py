"""What the tests of retraining share: records, logs, the command line in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pftrack.commands import retrain
from pftrack.errors import run_cli

DEMO = "projects/configs/tracking/demo"


def run(*arguments: object) -> int:
    """Exit status of ``tools/retrain.py`` with these arguments, in this process."""
    with pytest.raises(SystemExit) as exit_info:
        run_cli(lambda: retrain.main([str(a) for a in arguments]))
    return exit_info.value.code


def stage_json(**changes: Any) -> dict[str, Any]:
    """A stage of a record, as JSON has it."""
    return {"name": "f1", "config": f"{DEMO}/f1_demo.py", **changes}


def write_record(path: Path, *stages: dict[str, Any]) -> Path:
    """A record of these stages."""
    content = {"version": 1, "about": "a test", "stages": list(stages)}
    path.write_text(json.dumps(content))
    return path


def write_log(folder: Path, name: str, *lines: dict[str, Any], **facts: Any) -> None:
    """``<name>.log.json`` of a run with these facts and lines."""
    texts = [json.dumps(facts), *map(json.dumps, lines)]
    (folder / f"{name}.log.json").write_text("\n".join(texts) + "\n")


def log_line(epoch: int, iteration: int, steps: int, loss: float, seconds: float = 1.0) -> dict:
    """A line of a log after ``steps`` steps."""
    return {
        **{"mode": "train", "epoch": epoch, "iter": iteration, "steps": steps},
        **{"lr": 1.0, "memory": 1, "data_time": 0.1, "time": seconds, "grad_norm": 3.0},
        **{"loss": loss, "d0.loss_cls": loss / 2},
    }
