"""The generated dataset: schema, geometry against the rendered pixels, lidar, evaluation."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from laboratory.demo_data import generate_dataset
from laboratory.demo_data.generate import MARKER, scene_names
from laboratory.demo_data.renderer import render
from laboratory.demo_data.rig import CAMERA_NAMES, yaw_matrix
from laboratory.demo_data.scene import ScenePlan, SceneRecorder, plan_scene
from laboratory.demo_data.tables_only import table_chunks
from laboratory.demo_data.town import Town
from pftrack.errors import UserError
from pftrack.nuscenes.table_files import write_tables

FRAMES, SIZE, SEED = 6, (200, 112), 3


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "nuscenes"
    assert generate_dataset(out, scenes=2, frames=FRAMES, image_size=SIZE, seed=SEED)
    return out


@pytest.fixture(scope="module")
def nusc(root: Path):
    from nuscenes import NuScenes

    return NuScenes("v1.0-mini", str(root), verbose=False)


@pytest.fixture(scope="module")
def plan() -> ScenePlan:
    return plan_scene(0, scene_names("v1.0-mini", 2)[0], FRAMES, SIZE, SEED)


@pytest.fixture(scope="module")
def recorder(plan: ScenePlan) -> SceneRecorder:
    return SceneRecorder(plan, Town(SEED))


# ---- tables and the devkit ---------------------------------------------------------------------


def test_devkit_loads_every_table_and_file(nusc, root: Path) -> None:
    from nuscenes.utils.splits import mini_train, mini_val

    names = [scene["name"] for scene in nusc.scene]
    assert names[0] in mini_train and names[1] in mini_val
    for scene in nusc.scene:
        token, count = scene["first_sample_token"], 0
        while token:
            sample = nusc.get("sample", token)
            assert set(sample["data"]) == {*CAMERA_NAMES, "LIDAR_TOP"}
            count, last, token = count + 1, token, sample["next"]
        assert count == scene["nbr_samples"] == FRAMES and last == scene["last_sample_token"]
    for row in nusc.sample_data:
        path = root / row["filename"]
        assert path.is_file()
        if row["fileformat"] == "jpg":
            assert cv2.imread(str(path)).shape[:2] == (row["height"], row["width"])
    assert len({row["token"] for row in nusc.sample_annotation}) == len(nusc.sample_annotation)
    assert sum(i["nbr_annotations"] for i in nusc.instance) == len(nusc.sample_annotation)


def test_annotation_chains_have_the_velocity_the_devkit_expects(nusc) -> None:
    for instance in nusc.instance:
        token, rows = instance["first_annotation_token"], []
        while token:
            rows.append(nusc.get("sample_annotation", token))
            token = rows[-1]["next"]
        assert rows[-1]["token"] == instance["last_annotation_token"]
        assert len(rows) == instance["nbr_annotations"]
        for row in rows:
            velocity = nusc.box_velocity(row["token"])
            assert len(rows) == 1 or np.linalg.norm(velocity[:2]) < 12


def test_car_drives_on_the_map_mask(nusc) -> None:
    mask = nusc.map[0]["mask"]
    poses = np.array([pose["translation"] for pose in nusc.ego_pose])
    assert mask.is_on_mask(poses[:, 0], poses[:, 1]).all()
    assert not mask.is_on_mask(np.array([5.0]), np.array([5.0])).any()


def test_num_lidar_pts_counts_the_points_in_the_box(nusc) -> None:
    from nuscenes.utils.data_classes import LidarPointCloud
    from nuscenes.utils.geometry_utils import points_in_box

    total = 0
    for sample in nusc.sample:
        path, boxes, _ = nusc.get_sample_data(sample["data"]["LIDAR_TOP"])
        points = LidarPointCloud.from_file(path).points[:3].astype(np.float64)
        for box in boxes:
            counted = nusc.get("sample_annotation", box.token)["num_lidar_pts"]
            assert counted == points_in_box(box, points).sum()
            total += counted
    assert total > 1000


def test_ground_truth_as_prediction_is_perfect(nusc, root: Path, tmp_path: Path) -> None:
    """AMOTA is exactly 1 (mean MOTAR over recalls, each clipped to 1) and AP is 1 per class."""
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval
    from nuscenes.eval.detection.utils import category_to_detection_name
    from nuscenes.eval.tracking.evaluate import TrackingEval
    from nuscenes.eval.tracking.utils import category_to_tracking_name

    val = next(s for s in nusc.scene if s["name"] in scene_names("v1.0-mini", 2)[1:])
    results: dict[str, dict[str, list]] = {"tracking": {}, "detection": {}}
    for sample in nusc.sample:
        if sample["scene_token"] != val["token"]:
            continue
        for rows in results.values():
            rows[sample["token"]] = []
        for token in sample["anns"]:
            row = nusc.get("sample_annotation", token)
            if row["num_lidar_pts"] == 0:
                continue  # the devkit drops these from the ground truth
            attributes = [nusc.get("attribute", a)["name"] for a in row["attribute_tokens"]]
            box = {key: row[key] for key in ("sample_token", "translation", "size", "rotation")}
            box["velocity"] = nusc.box_velocity(token)[:2].tolist()
            name = category_to_tracking_name(row["category_name"])
            if name:
                track = {"tracking_id": row["instance_token"], "tracking_name": name}
                results["tracking"][sample["token"]].append(box | track | {"tracking_score": 1.0})
            found = {
                "detection_name": category_to_detection_name(row["category_name"]),
                "detection_score": 1.0,
                "attribute_name": attributes[0] if attributes else "",
            }
            results["detection"][sample["token"]].append(box | found)
    meta = {f"use_{k}": k == "camera" for k in ("camera", "lidar", "radar", "map", "external")}
    paths = {}
    for task, rows in results.items():
        paths[task] = tmp_path / f"{task}.json"
        paths[task].write_text(json.dumps({"meta": meta, "results": rows}))

    tracking = TrackingEval(
        config_factory("tracking_nips_2019"), str(paths["tracking"]), "mini_val",
        str(tmp_path / "t"), "v1.0-mini", str(root), verbose=False,
    )  # fmt: skip
    metrics, _ = tracking.evaluate()
    summary = metrics.serialize()
    (frames,) = tracking.tracks_gt.values()
    counted = {box.tracking_name for boxes in frames.values() for box in boxes}
    assert len(counted) >= 4
    for name in counted:
        assert summary["label_metrics"]["amota"][name] == pytest.approx(1.0)
        for mistake in ("fp", "fn", "ids", "frag"):
            assert summary["label_metrics"][mistake][name] == 0
    assert summary["amota"] == pytest.approx(1.0)

    detection = DetectionEval(
        nusc, config_factory("detection_cvpr_2019"), str(paths["detection"]), "mini_val",
        str(tmp_path / "d"), verbose=False,
    )  # fmt: skip
    metrics, _ = detection.evaluate()
    in_range = {b.detection_name for rows in detection.gt_boxes.boxes.values() for b in rows}
    assert len(in_range) >= 4
    for name in in_range:
        assert metrics.mean_dist_aps[name] == pytest.approx(1.0, abs=1e-6)


# ---- pictures ------------------------------------------------------------------------------------


def test_boxes_enclose_the_pixels_of_their_objects(
    nusc, plan: ScenePlan, recorder: SceneRecorder
) -> None:
    """Boxes and poses as the devkit gives them against the renderer's own object index."""
    from nuscenes.utils.geometry_utils import view_points

    index_of = {
        instance["token"]: i
        for i in range(len(plan.agents))
        for instance in nusc.instance
        if instance["token"] == _instance_token(plan, i)
    }
    scene = next(s for s in nusc.scene if s["name"] == plan.name)
    sample = nusc.get("sample", scene["first_sample_token"])
    frame, compared = 0, 0
    ego = plan.ego_pose(frame)
    everyone = np.arange(len(plan.agents))
    mesh, shadows = recorder.surroundings(frame, everyone, ego)
    for view in recorder.views:
        camera = view.camera
        picture = render(
            view, plan.ego_pose(frame, camera.delay), mesh, len(everyone),
            recorder.town.ground, shadows,
        )  # fmt: skip
        _, boxes, intrinsic = nusc.get_sample_data(sample["data"][camera.name])
        for box in boxes:
            index = index_of[nusc.get("sample_annotation", box.token)["instance_token"]]
            shown = (picture.owner == index).astype(np.uint8)
            if (box.corners()[2] < 0.3).any():
                continue  # reaches behind the camera
            corners = view_points(box.corners(), intrinsic, normalize=True)[:2].T
            hull = np.zeros_like(shown)
            outline = cv2.convexHull(np.round(corners * 16).astype(np.int32))
            cv2.fillConvexPoly(hull, outline, 1, shift=4)
            grown = cv2.dilate(hull, np.ones((3, 3), np.uint8))
            assert not (shown & ~grown).any(), f"{box.name} beyond its box in {camera.name}"
            if picture.visible[index] > 0.95 * picture.covered[index] > 20:
                compared += 1
                assert shown.sum() > 0.35 * hull.sum(), box.name
    assert compared >= 3


def _instance_token(plan: ScenePlan, index: int) -> str:
    from laboratory.demo_data.tables import token

    return token(plan.seed, plan.name, "instance", index)


def test_objects_hide_each_other_and_the_tables_say_so(nusc) -> None:
    levels = [int(row["visibility_token"]) for row in nusc.sample_annotation]
    assert set(levels) >= {1, 4} and np.mean(np.array(levels) == 4) > 0.4


# ---- lidar ---------------------------------------------------------------------------------------


def test_lidar_points_lie_on_bodies_or_the_ground(
    root: Path, plan: ScenePlan, recorder: SceneRecorder
) -> None:
    frame = 2
    ego = plan.ego_pose(frame)
    sweep = np.fromfile(root / plan.filename("LIDAR_TOP", frame), np.float32).reshape(-1, 5)
    turn = yaw_matrix(ego[2])
    points = sweep[:, :3] @ (turn @ plan.lidar.rotation).T
    points += turn @ plan.lidar.translation + (ego[0], ego[1], 0.0)
    mesh, _ = recorder.surroundings(frame, np.arange(len(plan.agents)), ego)
    offsets = np.einsum("fi,fi->f", mesh.normals, mesh.corners[:, 0])
    gap = np.full(len(points), np.inf)  # to the nearest surface of any solid
    for solid in np.unique(mesh.solid[mesh.solid >= 0]):
        faces = mesh.solid == solid
        signed = points @ mesh.normals[faces].T - offsets[faces]
        gap = np.minimum(gap, np.abs(signed.max(1)))
    ground = np.abs(points[:, 2]) < 0.021
    assert (ground | (gap < 1e-3)).all()
    assert 0.2 < ground.mean() < 0.95
    assert points[:, 2].min() > -0.021


def test_objects_pass_from_camera_to_camera(nusc) -> None:
    cameras: dict[str, set[str]] = {}
    for sample in nusc.sample:
        for name in CAMERA_NAMES:
            for box in nusc.get_sample_data(sample["data"][name])[1]:
                instance = nusc.get("sample_annotation", box.token)["instance_token"]
                cameras.setdefault(instance, set()).add(name)
    assert max(len(seen) for seen in cameras.values()) >= 2


# ---- writing -------------------------------------------------------------------------------------


def _digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_same_bytes_with_two_processes_and_after_an_interruption(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, calls = SceneRecorder.record, []

    def interrupted(self, frame, folder):
        calls.append(frame)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return record(self, frame, folder)

    out = tmp_path / "again"
    arguments = {"scenes": 2, "frames": FRAMES, "image_size": SIZE, "seed": SEED}
    monkeypatch.setattr(SceneRecorder, "record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate_dataset(out, **arguments)
    assert not out.exists() and (tmp_path / ".again.partial").is_dir()
    monkeypatch.undo()
    assert generate_dataset(out, **arguments, workers=2)
    assert not (tmp_path / ".again.partial").exists()
    assert _digest(out) == _digest(root)


def test_complete_dataset_is_left_alone_and_anything_else_refused(
    root: Path, tmp_path: Path
) -> None:
    arguments = {"scenes": 2, "frames": FRAMES, "image_size": SIZE}
    assert not generate_dataset(root, **arguments, seed=SEED)
    with pytest.raises(UserError, match="other settings"):
        generate_dataset(root, **arguments, seed=SEED + 1)
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        generate_dataset(tmp_path, **arguments)
    with pytest.raises(UserError, match="is a file"):
        generate_dataset(tmp_path / "precious.txt", **arguments)
    assert json.loads((root / MARKER).read_text())["seed"] == SEED


@pytest.mark.parametrize(
    ("count", "train", "val"), [(1, 0, 1), (2, 1, 1), (3, 2, 1), (5, 4, 1), (8, 6, 2), (10, 8, 2)]
)
def test_scenes_are_shared_between_the_mini_splits(count: int, train: int, val: int) -> None:
    from nuscenes.utils.splits import mini_train, mini_val

    names = scene_names("v1.0-mini", count)
    assert sum(n in mini_train for n in names) == train
    assert sum(n in mini_val for n in names) == val and len(set(names)) == count


def test_many_scenes_take_the_names_of_trainval(tmp_path: Path) -> None:
    assert len(set(scene_names("v1.0-trainval", 850))) == 850
    with pytest.raises(UserError, match="850 scenes"):
        generate_dataset(tmp_path / "x", scenes=851)


def test_one_scene_of_one_frame_is_a_dataset(tmp_path: Path) -> None:
    from nuscenes import NuScenes

    generate_dataset(tmp_path / "one", scenes=1, frames=1, image_size=(64, 36))
    nusc = NuScenes("v1.0-mini", str(tmp_path / "one"), verbose=False)
    assert len(nusc.sample) == 1 and len(nusc.sample[0]["anns"]) > 3


def test_tables_of_any_size_load_in_the_devkit(tmp_path: Path) -> None:
    from nuscenes import NuScenes

    write_tables(tmp_path / "v1.0-trainval", table_chunks(240))
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "none.png").touch()
    nusc = NuScenes("v1.0-trainval", str(tmp_path), verbose=False)
    assert len(nusc.sample) == 240
    # the shares of nuScenes trainval: 34,149 samples, 1.17 M annotations, 2.6 M sample_data
    assert len(nusc.sample_annotation) / 240 == pytest.approx(1_166_187 / 34_149, rel=0.1)
    assert len(nusc.sample_data) / 240 == pytest.approx(2_631_083 / 34_149, rel=0.05)
    assert all(len(sample["data"]) == 12 for sample in nusc.sample)
    for annotation in nusc.sample_annotation[::50]:
        assert np.isfinite(nusc.box_velocity(annotation["token"])).all()
    rows = [row for chunk in table_chunks(240) for row in chunk.get("sample_data", [])]
    assert rows == [
        {k: row[k] for k in row if k not in ("sensor_modality", "channel")}
        for row in nusc.sample_data
    ]
