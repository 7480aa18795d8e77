"""Noise with a plausible geometry."""

import torch

from laboratory.synthetic import noise_clip


def test_what_lies_ahead_is_in_the_middle_of_the_front_camera_and_of_no_other():
    clip = noise_clip((64, 160), frames=2, objects=3)
    assert clip.img.shape == (1, 2, 6, 3, 64, 160) and clip.img.dtype == torch.uint8
    ahead = torch.tensor([20.0, 0, 0, 1], dtype=torch.float64)
    u, v, depth = (clip.lidar2img[0, 1] @ ahead)[:, :3].T
    assert torch.isclose(depth[0], torch.tensor(20.5, dtype=torch.float64))
    inside = (depth > 0) & ((u / depth - 80).abs() < 80)
    assert inside.tolist() == [True, False, False, False, False, False]
    assert torch.isclose(u[0] / depth[0], torch.tensor(80.0, dtype=torch.float64))
    assert torch.isclose(v[0] / depth[0], torch.tensor(32.0, dtype=torch.float64))


def test_the_same_seed_is_the_same_clip():
    first, again, other = (noise_clip((8, 16), 1, seed=s) for s in (1, 1, 2))
    assert torch.equal(first.img, again.img) and not torch.equal(first.img, other.img)
    assert torch.equal(first.targets[0][0].boxes, again.targets[0][0].boxes)
