"""Valid inputs of every format, small: what the battery spoils."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pftrack.nuscenes.versions import MINI, TRAINVAL

TABLES = (
    *("scene", "sample", "sensor", "calibrated_sensor", "ego_pose", "sample_data"),
    *("category", "instance", "sample_annotation"),
)


@dataclass
class World:
    """A generated data set with everything that is made from it, in one folder; read only."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "nuscenes"

    @property
    def infos(self) -> Path:
        return self.folder / "tracking_forecasting-mini_infos_train.pkl"

    @property
    def val_infos(self) -> Path:
        return self.folder / "tracking_forecasting-mini_infos_val.pkl"

    @property
    def results(self) -> Path:
        return self.folder / "results" / "results_nusc.json"

    @property
    def detections(self) -> Path:
        return self.folder / "detections" / "results_nusc.json"

    @property
    def robot(self) -> Path:
        """A recording in the folder format, as the only one."""
        return self.folder / "robot"

    @property
    def kitti(self) -> Path:
        """The data in the format of KITTI's tracking benchmark."""
        return self.folder / "kitti"

    @property
    def argoverse(self) -> Path:
        """A log in Argoverse 2's format; not there without pyarrow."""
        return self.folder / "argoverse"

    @property
    def config(self) -> Path:
        return self.folder / "f1_battery.py"

    @property
    def work_dir(self) -> Path:
        return self.folder / "work_dir"

    @property
    def checkpoint(self) -> Path:
        return self.work_dir / "iter_1.pth"

    @property
    def data_options(self) -> list[str]:
        """Overrides that point a configuration at the data."""
        options = []
        for split in ("train", "val", "test"):
            file = self.infos if split == "train" else self.val_infos
            options += [f"data.{split}.data_root={self.data}/", f"data.{split}.ann_file={file}"]
        return options

    @cached_property
    def robot_scenes(self) -> list[str]:
        """Names of the recordings in :attr:`robot`, which are scenes of the data."""
        return sorted(path.name for path in self.robot.iterdir())

    @cached_property
    def info_content(self) -> dict[str, Any]:
        from pftrack.datasets.infos import read_pickle

        return dict(read_pickle(self.infos))

    @cached_property
    def result_content(self) -> dict[str, Any]:
        return dict(json.loads(self.results.read_text()))

    @cached_property
    def detection_content(self) -> dict[str, Any]:
        return dict(json.loads(self.detections.read_text()))

    @cached_property
    def run_content(self) -> dict[str, Any]:
        return dict(json.loads((self.results.parent / "run.json").read_text()))

    @cached_property
    def table_content(self) -> dict[str, list[dict[str, Any]]]:
        return {
            name: json.loads((self.data / MINI / f"{name}.json").read_text()) for name in TABLES
        }


CONFIG = """_base_ = ["{base}"]
model = dict(num_query=20, pts_bbox_head=dict(bbox_coder=dict(max_num=20)))
data = dict(samples_per_gpu=1, workers_per_gpu=0)
runner = dict(max_epochs=1, max_iters=1)
log_config = dict(interval=1)
"""


def build_world(folder: Path) -> World:
    """Generate the data, convert it, train one step, make results of both kinds."""
    from laboratory.demo_data import generate_dataset
    from pftrack.commands import train
    from pftrack.conversion.run import convert_folder
    from pftrack.paths import CODE

    world = World(folder)
    base = CODE / "projects/configs/tracking/demo/f1_demo.py"
    world.folder.mkdir(parents=True, exist_ok=True)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        generate_dataset(world.data, scenes=2, frames=3, image_size=(160, 90), seed=0, workers=1)
        convert_folder(world.data, MINI, world.folder)
        world.config.write_text(CONFIG.format(base=base))
        arguments = [str(world.config), "--work-dir", str(world.work_dir), "--device", "cpu"]
        train.main([*arguments, "--no-validate", "--cfg-options", *world.data_options])
    _write_results(world)
    _write_recordings(world)
    return world


def _write_recordings(world: World) -> None:
    """The data in the importers' formats; of the formats with folders for recordings one."""
    import importlib.util
    import shutil

    from laboratory.own_data.write import write_argoverse, write_folder, write_kitti

    root = world.folder / "written"
    root.mkdir()
    for path in (*world.data.iterdir(), world.infos, world.val_infos):
        (root / path.name).symlink_to(path)
    write_folder(root, world.robot)
    write_kitti(root, world.kitti)
    if importlib.util.find_spec("pyarrow") is not None:
        write_argoverse(root, world.argoverse)
    for folder in (world.robot, world.argoverse):
        for recording in sorted(folder.glob("*"))[1:]:
            shutil.rmtree(recording)


def _write_results(world: World) -> None:
    """The annotations of the val split as results of a tracker and of a detector."""
    from pftrack.datasets.infos import load_infos
    from pftrack.nuscenes.format_results import detection_results, tracking_results
    from pftrack.tracking.scene_results import META
    from pftrack.visualization.scenes import ground_truth

    infos = load_infos(world.val_infos)
    for path, rows in ((world.results, tracking_results), (world.detections, detection_results)):
        results = {i["token"]: rows(i["token"], ground_truth(i)) for i in infos.infos}
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"meta": META, "results": results}))
    run = {
        "job": {
            "config": str(world.config),
            "checkpoint": str(world.checkpoint),
            "split": "val",
            "overrides": [],
            "task": "tracking",
            "precision": "fp32",
            "fuse_conv_bn": False,
            "compile": False,
            "section": None,
        },
        "devices": ["cpu"],
        "result_path": str(world.results),
        "frames": len(infos),
        "scenes": 1,
        "version": MINI,
        "data_root": str(world.data),
        "wall_seconds": 1.0,
        "seconds": {"decode": 0.5},
        "boxes": 10,
        "not_finite": 0,
    }
    (world.results.parent / "run.json").write_text(json.dumps(run))


def preload() -> None:
    """Import what commands import, once, so that forked workers begin at once."""
    import importlib.util

    names: tuple[str, ...] = (
        "mmcv",
        "torch",
        "numpy",
        "scipy.optimize",
        "cv2",
        "matplotlib.pyplot",
        "jinja2",
        "tqdm",
    )
    if importlib.util.find_spec("pyarrow") is not None:
        names = (*names, "pyarrow.feather")
    for name in names:
        importlib.import_module(name)
    for name in (
        *(
            "pftrack.models",
            "pftrack.training.run",
            "pftrack.training.loop",
            "pftrack.tracking.runner",
        ),
        *("pftrack.evaluation.run", "pftrack.evaluation.devkit", "pftrack.report.render"),
        *("pftrack.conversion.run", "pftrack.visualization.video", "pftrack.checkpoints.inspect"),
        *("pftrack.data.folder", "pftrack.data.kitti", "pftrack.data.argoverse"),
        *("pftrack.retraining.run", "pftrack.checkpoints.download", "pftrack.commands.cli"),
        *(
            "nuscenes.utils.splits",
            "nuscenes.eval.tracking.evaluate",
            "nuscenes.eval.detection.evaluate",
        ),
    ):
        importlib.import_module(name)
    sys.stdout.flush()


__all__ = ["MINI", "TABLES", "TRAINVAL", "World", "build_world", "preload"]
