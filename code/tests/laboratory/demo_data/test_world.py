"""The generated world without its files: bodies, how they are drawn, lidar rays, traffic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from laboratory.demo_data.lidar import _enter, scan
from laboratory.demo_data.mesh import MeshBuilder, merge
from laboratory.demo_data.rasterizer import clip_polygon, rasterize
from laboratory.demo_data.renderer import Light, camera_pose
from laboratory.demo_data.rig import CAMERA_NAMES, build_cameras, yaw_matrix
from laboratory.demo_data.scene import ScenePlan, SceneRecorder, plan_scene
from laboratory.demo_data.shapes import MARGIN, SIZES, Signals, build_body
from laboratory.demo_data.signals import AHEAD, signals_at
from laboratory.demo_data.town import Town
from laboratory.demo_data.traffic import Agent

SIZE, SEED = (200, 112), 3


@pytest.fixture(scope="module")
def long_plans() -> list[ScenePlan]:
    return [plan_scene(i, f"scene-{i}", 40, SIZE, SEED) for i in range(4)]


def test_nearer_object_wins_wherever_two_overlap() -> None:
    """A wall 5 m ahead hides the lower half of one 10 m ahead, whatever the drawing order."""
    camera = build_cameras(np.random.default_rng(0), (160, 90))[0]
    rotation, centre = camera_pose(camera, np.zeros(3))
    near = MeshBuilder().hexahedron((5, 6), (-9, 9), (0, 1.4), (1, 2, 3)).build()
    far = MeshBuilder().hexahedron((10, 11), (-9, 9), (0, 4), (4, 5, 6)).build()
    for first, order in ((0, (near, far)), (1, (far, near))):
        mesh = merge(order)
        corners, normals = (mesh.corners - centre) @ rotation, mesh.normals @ rotation
        seen = replace(mesh, corners=corners, normals=normals)
        buffers = rasterize(seen, camera, 2)
        owner = np.where(buffers.face >= 0, mesh.owner[buffers.face], -1)
        column = owner[:, 80]
        assert column[-20] == first and column[35] == 1 - first
        depth = 1 / buffers.inverse_depth[-20, 80]
        assert depth == pytest.approx(5 - camera.translation[0], abs=0.05)
        assert buffers.covered[1 - first] > np.count_nonzero(owner == 1 - first)


def test_clipping_keeps_the_part_in_front() -> None:
    square = np.array([[-1.0, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]])
    kept = clip_polygon(square, np.array([[0, 0, 1.0, -0.5]]))
    assert kept[:, 2].min() == pytest.approx(0.5) and kept[:, 2].max() == 1.0 and len(kept) == 4
    assert len(clip_polygon(square, np.array([[0, 0, 1.0, -2.0]]))) == 0


@pytest.mark.parametrize("name", sorted(SIZES))
def test_bodies_fill_their_boxes_and_stay_inside(name: str) -> None:
    for seed in range(4):
        w, l, h = SIZES[name]  # noqa: E741
        body = build_body(name, (w, l, h), seed, Signals(stride=0.8, turning=1))
        corners = body.corners.reshape(-1, 3)
        low, high = corners.min(0), corners.max(0)
        assert (low > [-l / 2 + 0.004, -w / 2 + 0.004, 0.001]).all()
        assert (high < [l / 2 - 0.004, w / 2 - 0.004, h - 0.004]).all()
        assert high[2] > h - 3 * MARGIN and (high - low)[:2].max() > 0.8 * max(w, l)


def agent(name: str, speed: list[float], yaw: list[float], attribute: str) -> Agent:
    frames = len(speed)
    path = np.c_[np.cumsum(speed), np.zeros(frames)]
    return Agent(name, SIZES[name], 0, path, np.array(yaw), np.array(speed), [attribute] * frames)


def test_lamps_tell_what_a_vehicle_is_about_to_do() -> None:
    left = agent("car", [5.0] * 12, [0.0] * 6 + [0.8] * 6, "vehicle.moving")
    signals = [signals_at(left, frame) for frame in range(12)]
    assert [s.turning for s in signals] == [frame + AHEAD >= 6 and frame < 6 for frame in range(12)]
    assert all(s.lit and not s.braking for s in signals)
    right = agent("bus", [5.0] * 3, [3.1, -3.0, -3.6], "vehicle.moving")  # across the jump at pi
    assert signals_at(right, 0).turning == -1
    stops = agent("truck", [4.0, 2.0, 0.0, 0.0, 0.0, 3.0], [0.0] * 6, "vehicle.moving")
    braking = [signals_at(stops, frame).braking for frame in range(6)]
    assert braking == [True, True, True, True, False, False]  # released before it sets off
    parked = agent("car", [0.0, 0.0], [0.0, 0.0], "vehicle.parked")
    assert signals_at(parked, 1) == Signals(lit=False)


def test_legs_of_walkers_are_apart() -> None:
    walker = agent("pedestrian", list(np.linspace(0.9, 1.7, 40)), [0.0] * 40, "pedestrian.moving")
    strides = [signals_at(walker, frame).stride for frame in range(40)]
    assert min(map(abs, strides)) >= 0.5 and min(strides) < 0 < max(strides)
    stands = agent("pedestrian", [0.0], [0.0], "pedestrian.standing")
    assert signals_at(stands, 0).stride == 0.0


def test_lit_lamps_are_brighter_than_anything_the_sun_makes_of_dark_ones() -> None:
    light = Light.random(np.random.default_rng(0))
    for name in ("car", "truck", "bus", "trailer", "motorcycle"):
        shaded = [
            light.shade(build_body(name, SIZES[name], 0, Signals(lit=lit))) for lit in (False, True)
        ]
        changed = (shaded[0] != shaded[1]).any(1)
        assert changed.any()
        assert shaded[1][changed].max(1).min() > 200 > shaded[0][changed].max()


@pytest.mark.slow
def test_objects_disappear_behind_others_and_come_back(tmp_path: Path) -> None:
    plan = plan_scene(0, "scene-0061", 30, (96, 54), SEED)
    for name in (*CAMERA_NAMES, "LIDAR_TOP"):
        (tmp_path / "samples" / name).mkdir(parents=True)
    scene = SceneRecorder(plan, Town(SEED))
    records = [scene.record(frame, tmp_path) for frame in range(plan.num_frames)]
    share = np.array([r.visible / np.maximum(r.covered, 1) for r in records])
    near = np.array([r.in_range & (r.covered > 4) for r in records])
    hidden = 0
    for seen, there in zip(share.T, near.T, strict=True):
        clear = np.flatnonzero(there & (seen > 0.7))
        if len(clear):
            between = slice(clear[0], clear[-1] + 1)
            hidden += bool((there[between] & (seen[between] < 0.1)).any())
    assert hidden >= 2


def test_rays_enter_a_box_where_they_should() -> None:
    box = MeshBuilder().hexahedron((4, 6), (-1, 1), (-1, 1), (9, 9, 9)).build()
    offsets = np.einsum("fi,fi->f", box.normals, box.corners[:, 0])
    rays = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [1, 0.3, 0] / np.hypot(1, 0.3)])
    distance, _ = _enter(rays, box.normals, offsets)
    assert distance[0] == pytest.approx(4) and np.isinf(distance[1:]).all()


def test_fog_leaves_a_tenth_of_the_contrast_and_moves_nothing() -> None:
    clear, foggy = (plan_scene(0, "scene-0061", 4, SIZE, SEED, v) for v in (None, 30.0))
    light = foggy.light
    distances = np.array([0.0, 10.0, 30.0], np.float32)
    assert light.haze_share(distances)[[0, 2]] == pytest.approx([0, 0.9], abs=1e-6)
    assert (light.haze_share(distances[1:]) > 5 * clear.light.haze_share(distances[1:])).all()
    assert (light.zenith == light.horizon).all(), "fog hides the sky"
    assert isinstance(clear.light, Light) and (clear.light.sun == light.sun).all()
    for one, other in zip(clear.agents, foggy.agents, strict=True):
        assert one.name == other.name and (one.positions == other.positions).all()


def test_lidar_sees_no_further_than_its_range() -> None:
    wall = MeshBuilder().hexahedron((20, 21), (-9, 9), (0, 4), (200, 200, 200)).build()
    sensor = np.eye(3), np.array([0.0, 0.0, 1.8])
    near, far = (scan(wall, *sensor, np.random.default_rng(0), reach) for reach in (19.0, 40.0))
    on_wall = far[:, 2] > -1.5
    assert on_wall.sum() > 100 and np.linalg.norm(far[on_wall, :3], axis=1).min() >= 20
    assert np.linalg.norm(near[:, :3], axis=1).max() < 19 and (near[:, 2] < -1.5).all()


def test_traffic_shows_the_behaviours_that_trackers_meet(long_plans: list[ScenePlan]) -> None:
    agents = [(plan, agent) for plan in long_plans for agent in plan.agents]
    turning = [np.ptp(np.unwrap(a.yaw)) > 1.0 for _, a in agents]
    stopping = [
        ((a.speed[:-1] > 2) & (a.speed[1:] < 2)).any() and (a.speed < 0.05).any() for _, a in agents
    ]
    parked = ["vehicle.parked" in a.attribute for _, a in agents]
    leaving = []
    for plan, agent in agents:
        ego = np.array([plan.ego_pose(f)[:2] for f in range(plan.num_frames)])
        near = np.linalg.norm(agent.positions - ego, axis=1) < 50
        leaving.append(near.any() and not near[-1])
    for behaviour in (turning, stopping, parked, leaving):
        assert sum(behaviour) >= 4
    for plan in long_plans:
        poses = plan.ego.poses
        assert np.ptp(poses[:, 2]) > 1.0, "the recording car turns in every scene"
        assert {a.name for a in plan.agents} >= {"car", "pedestrian"}
    names = {a.name for _, a in agents}
    assert names == set(SIZES)


def test_nobody_drives_through_anybody(long_plans: list[ScenePlan]) -> None:
    from shapely.geometry import Polygon

    for plan in long_plans[:2]:
        for frame in range(0, plan.num_frames, 5):
            outlines = []
            for agent in plan.agents:
                w, l, _ = agent.size  # noqa: E741
                turn = yaw_matrix(agent.yaw[frame])[:2, :2]
                square = np.array([[l, w], [l, -w], [-l, -w], [-l, w]]) / 2
                outlines.append(Polygon(square @ turn.T + agent.positions[frame]))
            for i, one in enumerate(outlines):
                assert not any(one.intersects(other) for other in outlines[:i])
