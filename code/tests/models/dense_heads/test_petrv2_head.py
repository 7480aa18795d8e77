"""PETRv2's head: the frame before in this frame of reference, and its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_tracker import clip, petrv2, tiny_tracker
from training_demo import make_demo_trainer

from laboratory.parity.weights import fill
from pftrack import load_tracker
from pftrack.config import load_config
from pftrack.datasets.build import build_dataset
from pftrack.errors import UserError
from pftrack.geometry import denormalize_points, transform_points
from pftrack.models.dense_heads.base import Past
from pftrack.models.dense_heads.petr_head import image_to_lidar
from pftrack.models.dense_heads.petrv2_head import _in_this_frame
from pftrack.paths import CODE
from pftrack.registry import build_model
from pftrack.structures import FramePose

CONFIG = CODE / "projects/configs/tracking/demo/f3_petrv2_demo.py"


def pose(x: float, yaw: float = 0.0) -> FramePose:
    """A vehicle that has driven far: 1,000 m and x further, turned by yaw."""
    l2g = torch.eye(4)
    c, s = torch.tensor(yaw).cos(), torch.tensor(yaw).sin()
    l2g[:2, :2] = torch.stack([torch.stack([c, -s]), torch.stack([s, c])])
    l2g[0, 3] = 1000.0 + x
    return FramePose(l2g[None], torch.zeros(1, dtype=torch.float64))


def test_the_pixels_of_the_frame_before_stand_where_the_vehicle_left_them() -> None:
    head = tiny_tracker(**petrv2()).pts_bbox_head
    frame = clip([[0]]).frame(0)
    matrices = image_to_lidar(frame)
    keys = torch.zeros(1, 6, 1, 4, 6)
    past = Past.recall({"keys": keys, "img2lidar": matrices}, pose(0.0), pose(3.0, 0.5))
    assert past is not None
    moved = _in_this_frame(past, {"keys": keys, "img2lidar": matrices})["img2lidar"]
    before, after = (
        denormalize_points(head.frustum(frame, (4, 6), m).movedim(-3, -1), head.position_range)
        for m in (matrices, moved)
    )
    # By hand: 3 m forward, then 0.5 rad to the left, seen from the vehicle the other way round.
    c, s = torch.tensor(0.5).cos(), torch.tensor(0.5).sin()
    x, y, z = before.unbind(-1)
    expected = torch.stack([c * (x - 3) + s * y, -s * (x - 3) + c * y, z], dim=-1)
    torch.testing.assert_close(after, expected, atol=2e-4, rtol=1e-4)
    inside = transform_points(before.flatten(0, -2), past.motion[0])
    torch.testing.assert_close(inside, after.flatten(0, -2), atol=1e-4, rtol=1e-5)


def test_a_frame_sees_the_one_before_and_no_further() -> None:
    model = tiny_tracker(**petrv2()).eval()
    fill(model)
    frames = [clip([[0]], seed=seed).frame(0) for seed in range(3)]
    for t, frame in enumerate(frames):
        frame.timestamp = frame.timestamp + 0.5 * t

    @torch.no_grad()
    def logits(*seen: int) -> torch.Tensor:
        """Of detection queries alone, in the last of these frames."""
        memory, last, output = None, None, None
        for t in seen:
            past = Past.recall(memory, last, frames[t].pose)
            queries = model.with_detection_queries(None)
            output = model.detect(model.extract_feats(frames[t].img), frames[t], queries, past=past)
            memory, last = output.memory, frames[t].pose
        return output.all_cls_scores

    assert not torch.allclose(logits(1, 2), logits(2))
    torch.testing.assert_close(logits(0, 1, 2), logits(1, 2))


def test_what_a_later_frame_sees_reaches_the_features_of_the_earlier_one() -> None:
    model = tiny_tracker(**petrv2()).train()
    batch = clip([[2, 2]])
    batch.img.requires_grad_()
    losses = model(batch)
    sum(v for k, v in losses.items() if "loss" in k and not k.startswith("f0.")).backward()
    assert batch.img.grad is not None and batch.img.grad[0, 0].abs().sum() > 0


def test_settings_are_checked_as_those_of_the_head_below() -> None:
    config = {**petrv2()["pts_bbox_head"], "pc_range": [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]}
    with pytest.raises(UserError, match=r"PETRv2CamTrackingHead.depth_num in the config"):
        build_model({**config, "depth_num": "many"})
    with pytest.raises(UserError, match="unknown setting 'depth_nun' of PETRv2CamTrackingHead"):
        build_model({**config, "depth_nun": 4})


@pytest.mark.slow
def test_the_demos_configuration_trains_and_tracks(
    demo_data: Path, demo_infos: dict[str, Path], tmp_path: Path
) -> None:
    overrides = [
        *(f"data.{s}.data_root={demo_data}/" for s in ("train", "val", "test")),
        *(f"data.{s}.ann_file={demo_infos['train']}" for s in ("train", "val", "test")),
        "model.num_query=30",
        "data.train.num_frames_per_sample=2",
        "model.runtime_tracker.output_threshold=-1.0",
        "model.runtime_tracker.score_threshold=-1.0",
    ]
    cfg = load_config(CONFIG, overrides)
    runner = {"max_epochs": 1, "max_iters": 2}
    data = {"samples_per_gpu": 1, "workers_per_gpu": 0}
    trainer = make_demo_trainer(
        tmp_path / "work", cfg, runner=runner, data=data, optimizer={"type": "AdamW", "lr": 1e-5}
    )
    before = trainer.model.pts_bbox_head.fpe.conv_expand.weight.detach().clone()
    trainer.run()
    weights = trainer.model.state_dict()
    assert not torch.equal(weights["pts_bbox_head.fpe.conv_expand.weight"], before)
    tracker = load_tracker(cfg, {"state_dict": weights}, device="cpu")
    dataset = build_dataset(cfg, "val")
    ids = [{track.id for track in tracker.step(dataset.frame(i))} for i in range(2)]
    assert ids[0] and ids[0] & ids[1]
    assert tracker.memory.head is not None
    assert tracker.memory.head["keys"].shape == (1, 6, 128, 8, 20)
