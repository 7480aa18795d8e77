"""Both ways: components of mmdet in our configurations, ours through mmdet3d's builders."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pftrack.paths import CODE

SCRIPT = """
import torch
from pftrack.config import load_config
from pftrack.registry import build_model

resnet = build_model({"type": "mmdet.ResNet", "depth": 18, "out_indices": (2, 3)})
fpn = {"type": "mmdet.FPN", "in_channels": [256, 512], "out_channels": 8, "num_outs": 2}
neck = build_model(fpn)
maps = neck(resnet(torch.zeros(1, 3, 64, 64)))
assert type(resnet).__module__.startswith("mmdet.") and maps[0].shape == (1, 8, 4, 4)
unprefixed = build_model({"type": "ResNet", "depth": 18})
assert type(unprefixed) is type(resnet)

import pftrack.compatibility.mm
from mmdet3d.datasets import build_dataset
from mmdet3d.datasets.builder import DATASETS
from mmdet3d.models import build_backbone, build_model as mm_build_model, build_neck
from pftrack.models.trackers.tracker import Cam3DTracker

cfg = load_config("projects/configs/tracking/petr/f3_q5_800x320.py")
with torch.device("meta"):
    assert isinstance(mm_build_model(cfg.model), Cam3DTracker)
assert build_backbone({"type": "VoVNet", "spec_name": "V-19-slim-dw-eSE"})
ours = build_neck({"type": "pftrack.FPN", "in_channels": [8], "out_channels": 8, "num_outs": 1})
assert type(ours).__module__.startswith("pftrack.")
assert DATASETS.get("NuScenesTrackingDataset").__module__.startswith("pftrack.")
try:
    build_dataset(dict(cfg.data.val, ann_file="missing.pkl"))
except Exception as error:
    assert "missing.pkl" in str(error), error
"""


@pytest.mark.slow
def test_mmdet_components_and_mmdet3d_builders() -> None:
    # A process of its own: importing mmdet3d is slow and registers hundreds of components.
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=CODE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_importing_the_models_leaves_mmdet_alone() -> None:
    code = (
        "import sys, pftrack.models as m; "
        "heavy = ('mmdet', 'mmdet3d', 'scipy', 'nuscenes', 'torchvision'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CODE, capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr
