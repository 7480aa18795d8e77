"""The shipped demo tracker, ready to be trained on, and clips for it."""

from __future__ import annotations

from typing import Any

from laboratory.demo_training import train
from laboratory.demo_training.pool import ScenePool
from pftrack.checkpoints.reading import load_into
from pftrack.config import load_config
from pftrack.registry import build_model

CONFIG = train.CONFIGS / "f3_demo.py"


def tracker() -> Any:
    """In training mode."""
    import pftrack.models  # noqa: F401 (registers the components)

    model = build_model(load_config(CONFIG, []).model)
    load_into(model, str(train.SHIPPED / "f3_demo.pth"))
    return model.train()


def both_clips(pool: ScenePool) -> Any:
    """The pool's two scenes, each once, in order."""
    while True:
        drawn = pool.draw(2, 3)
        if all((drawn.ids[:, b] == pool._ids[b]).all() for b in range(2)):
            return drawn
