"""An evaluation of random tracks, with names that try to be markup."""

from __future__ import annotations

import pytest

from laboratory.random_scenes import RandomScenesConfig, write_random_scenes
from pftrack.evaluation.config import load_tracking_config
from pftrack.evaluation.ground_truth import load_ground_truth
from pftrack.evaluation.run import Evaluation, evaluate_results

EVIL = "</script><b>&'\""


def random_evaluation(root, scenes: tuple[str, ...], frames: int, objects: float) -> Evaluation:
    """Random scenes of the mini version, written to ``root`` and evaluated."""
    config = load_tracking_config()
    setting = RandomScenesConfig(scenes, frames=frames, objects=objects)
    result = write_random_scenes(root, "v1.0-mini", setting, 2)
    truth = load_ground_truth(root, "v1.0-mini", "val", config.class_names)
    return evaluate_results(result, truth, config)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    root = tmp_path_factory.mktemp("scenes")
    found = random_evaluation(root, ("scene-0103", "scene-0916"), 20, 25)
    found.pred.track_names[:] = [f"{EVIL}{n}" for n in found.pred.track_names]
    return found
