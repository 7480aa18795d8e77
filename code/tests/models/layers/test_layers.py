"""Attention, decoder, encodings, rays and GridMask against small numbers and PyTorch's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pftrack.errors import UserError
from pftrack.models.layers import attention
from pftrack.models.layers.attention import MultiheadAttention, record_attention
from pftrack.models.layers.frustum import (
    frustum_points,
    invert_projection,
    lid_depths,
)
from pftrack.models.layers.grid_mask import GridMask, stripes
from pftrack.models.layers.positional_encoding import (
    SinePositionalEncoding3D,
    pos2posemb3d,
    sine_features,
    time_position_embedding,
)
from pftrack.registry import build_model

D = 32


def transformer(**layer: object) -> torch.nn.Module:
    attending = {"type": "MultiheadAttention", "embed_dims": D, "num_heads": 4, "dropout": 0.1}
    layers = {"type": "PETRTransformerDecoderLayer", "attn_cfgs": attending,
              "feedforward_channels": 64, **layer}  # fmt: skip
    decoder = {"type": "PETRTransformerDecoder", "num_layers": 2, "transformerlayers": layers}
    return build_model({"type": "PETRTransformer", "decoder": decoder})


def test_attention_equals_torch_and_ignores_padding() -> None:
    torch.manual_seed(0)
    ours = MultiheadAttention(D, 4, dropout=0.0)
    query, pos, key = torch.randn(2, 5, D), torch.randn(2, 5, D), torch.randn(2, 7, D)
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[:, 5:] = True
    q, k = (query + pos).transpose(0, 1), key.transpose(0, 1)
    expected = query + ours.attn(q, k, k, key_padding_mask=padding)[0].transpose(0, 1)
    out = ours(query, pos, key, key, padding)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(out, ours(query, pos, key[:, :5], key[:, :5]))


def test_recorded_weights() -> None:
    ours = MultiheadAttention(D, 4).eval()
    query = torch.randn(1, 3, D)
    with record_attention(ours) as records:
        ours(query)
    (weights,) = records[""]
    assert weights.shape == (1, 4, 3, 3)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 4, 3))
    ours(query)
    assert len(records[""]) == 1


def test_dropout_keeps_no_weights_for_the_backward_pass() -> None:
    ours, sizes = MultiheadAttention(D, 4, dropout=0.1).train(), []
    query, key = torch.randn(1, 8, D, requires_grad=True), torch.randn(1, 4096, D)

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        out = ours(query, None, key, key)
    assert max(sizes) <= key.numel()  # the weights would be 8 x 4096 x 4 heads
    out.sum().backward()
    assert query.grad is not None


def test_gradients_of_attention_with_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(attention, "PART", 2 * 5 * 7)  # two heads at a time
    q, k, v = (torch.randn(1, 3, n, 4, dtype=torch.float64).requires_grad_() for n in (5, 7, 7))
    mask = torch.arange(7)[None, None, None] < 6

    def attend(*qkv: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return attention.attend(*qkv, mask, 0.3)

    assert torch.autograd.gradcheck(attend, (q, k, v))
    assert torch.equal(attend(q, k, v), attend(q, k, v))
    v.data[:, :, 6] = 1e6
    assert attend(q, k, v).abs().max() < 1e3


def test_an_exported_attention_stores_few_weights_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)

    class Attend(torch.nn.Module):
        def forward(self, *qkv: torch.Tensor) -> torch.Tensor:
            return attention.attend(*qkv, mask, 0.0)

    qkv = tuple(torch.randn(2, 5, n, 4) for n in (6, 7, 7))
    mask = torch.arange(7).repeat(2, 1)[:, None, None] < torch.tensor([5, 7])[:, None, None, None]
    expected = attention.attend(*qkv, mask, 0.0)
    for limit, calls in ((2 * 2 * 6 * 7, 3), (1, 5), (5 * 2 * 6 * 7, 1)):  # of two heads, of none
        monkeypatch.setattr(attention, "EXPORTED_PART", limit)
        program = torch.export.export(Attend(), qkv)
        targets = [str(node.target) for node in program.graph.nodes]
        assert sum("scaled_dot_product" in target for target in targets) == calls
        torch.testing.assert_close(program.module()(*qkv), expected, rtol=1e-5, atol=1e-6)


def test_dropout_of_attention_is_as_likely_as_stated() -> None:
    torch.manual_seed(0)
    q, k, v = torch.zeros(1, 1, 400, 4), torch.zeros(1, 1, 1000, 4), torch.ones(1, 1, 1000, 1)
    kept = attention.attend(q, k, v, None, 0.1)  # each is the sum of 1000 weights of 1 / 1000
    assert abs(float(kept.mean()) - 1) < 0.003  # nine of its standard deviations
    assert 0.008 < float(kept.std()) < 0.013  # sqrt(0.1 / 0.9 / 1000) = 0.0105
    torch.testing.assert_close(attention.attend(q, k, v, None, 0.0), torch.ones_like(kept))


def test_decoder_permutes_with_its_queries_and_normalises_each_output() -> None:
    torch.manual_seed(0)
    model = transformer().eval()
    query, pos, key = torch.randn(1, 6, D), torch.randn(1, 6, D), torch.randn(1, 9, D)
    out = model(query, key, pos, key)
    assert out.shape == (2, 1, 6, D)
    torch.testing.assert_close(out.mean(-1), torch.zeros(2, 1, 6), atol=1e-5, rtol=0)
    order = torch.randperm(6)
    permuted = model(query[:, order], key, pos[:, order], key)
    torch.testing.assert_close(permuted, out[:, :, order])


def test_decoder_configuration_errors() -> None:
    with pytest.raises(UserError, match="operation_order"):
        transformer(operation_order=("norm", "self_attn"))
    with pytest.raises(UserError, match="not divisible"):
        transformer(attn_cfgs={"type": "MultiheadAttention", "embed_dims": 30, "num_heads": 4})
    with pytest.raises(UserError, match="ffn_dropuot"):
        transformer(ffn_dropuot=0.1)
    with pytest.raises(UserError, match=r"unknown component 'other\.Layer'"):
        transformer(type="other.Layer")


def test_position_encoding_by_hand() -> None:
    encoded = pos2posemb3d(torch.tensor([[0.25, 0.5, 0.0]]), num_pos_feats=4)
    slow = 2 * math.pi / 100  # second frequency: 10000 ** (2 / 4)
    y = [math.sin(math.pi), math.cos(math.pi), math.sin(0.5 * slow), math.cos(0.5 * slow)]
    x = [1.0, 0.0, math.sin(0.25 * slow), math.cos(0.25 * slow)]
    z = [0.0, 1.0, 0.0, 1.0]
    torch.testing.assert_close(encoded[0], torch.tensor(y + x + z), atol=1e-6, rtol=0)


def test_time_encoding_starts_at_zero_and_ends_at_one() -> None:
    steps = time_position_embedding(3, 4, "cpu")
    torch.testing.assert_close(steps[0], torch.tensor([0.0, 1.0, 0.0, 1.0]))
    torch.testing.assert_close(steps[:, 0], torch.zeros(3), atol=1e-6, rtol=0)  # sin(0, pi, 2 pi)
    torch.testing.assert_close(steps[:, 1], torch.tensor([1.0, -1.0, 1.0]))


def test_image_encoding_counts_valid_pixels() -> None:
    encode = SinePositionalEncoding3D(2)
    mask = torch.zeros(1, 1, 1, 4, dtype=torch.bool)
    x = encode(mask)[0, 0, 4:, 0]  # camera 2, y 2, x 2 features; sine before cosine
    angles = torch.arange(1, 5) / 4 * 2 * math.pi
    torch.testing.assert_close(x, torch.stack([angles.sin(), angles.cos()]), atol=1e-5, rtol=0)
    mask[..., 2:] = True
    half = encode(mask)[0, 0, 4:, 0]
    torch.testing.assert_close(half[:, 1], half[:, 3])  # the count stands still in the padding


def test_rays_equal_the_inverse_projection() -> None:
    torch.manual_seed(0)
    lidar2img = torch.eye(4).double()[None, None] + 0.1 * torch.randn(1, 2, 4, 4).double()
    depths = lid_depths(3, 1.0, 61.2, "cpu")
    assert depths.tolist() == pytest.approx([1.0, 1 + 2 * 60.2 / 12, 1 + 6 * 60.2 / 12])
    unit = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    points = frustum_points(invert_projection(lidar2img), (2, 4), (32, 64), depths, unit)
    assert points.shape == (1, 2, 3, 3, 2, 4)
    u, v, d = 3 * 16.0, 1 * 16.0, depths[2].item()
    pixel = torch.tensor([u * d, v * d, d, 1.0]).double()
    expected = (torch.linalg.inv(lidar2img[0, 1]) @ pixel)[:3].float()
    torch.testing.assert_close(points[0, 1, 2, :, 1, 3], expected, rtol=1e-4, atol=1e-4)


def test_grid_mask_stripes_by_hand() -> None:
    # Size 4 is drawn on 6 and its centre (1..4) kept; stripes of 1 every 3 from 1: 1 and 4.
    assert stripes(4, period=3, width=1, start=1).tolist() == [True, False, False, True]
    # The last stripe would begin at 5 = 2 + 3 but only 6 // 3 = 2 of them exist: 2 and 5.
    assert stripes(4, period=3, width=1, start=2).tolist() == [False, True, False, False]


def test_grid_mask_is_seeded_shared_and_for_training_only() -> None:
    images = torch.ones(2, 3, 16, 24)
    mask = GridMask(prob=1.0)
    torch.manual_seed(3)
    first = mask(images)
    torch.manual_seed(3)
    assert torch.equal(mask(images), first)
    assert torch.equal(first[0, 0], first[1, 2]) and set(first.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(mask.eval()(images), images)
    assert torch.equal(GridMask(prob=0.0)(images), images)


def test_kept_encodings_are_of_the_type_that_is_computed_in():
    """Whole optimiser runs are compared in float64, after files that are in float32."""
    for dtype in (torch.float32, torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        try:
            steps = time_position_embedding(5, 8, "cpu")
            features = sine_features(torch.tensor([1.0]), 8)
        finally:
            torch.set_default_dtype(torch.float32)
        assert steps.dtype == features.dtype == dtype
        w = 10000.0 ** (-2 * np.arange(4) / 8)
        expected = np.stack([np.sin(w), np.cos(w)], -1).reshape(1, 8)
        np.testing.assert_allclose(features, expected, rtol=0, atol=3 * torch.finfo(dtype).eps)
