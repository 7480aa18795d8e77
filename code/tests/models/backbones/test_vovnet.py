"""VoVNet and the feature pyramids: layouts, frozen parts, recomputation, sums by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pftrack.errors import UserError
from pftrack.models.backbones import vovnet
from pftrack.models.backbones.vovnet import SPECS, EffectiveSE, VoVNet, VoVNetCP
from pftrack.models.necks.fpn import CPFPN, FPN

SMALL = "V-19-slim-dw-eSE"


@pytest.mark.parametrize("name", SPECS)
def test_every_spec_has_its_widths_and_strides(name: str) -> None:
    with torch.device("meta"):
        maps = VoVNet(name, out_features=("stem", "stage2", "stage3", "stage4", "stage5"))(
            torch.empty(1, 3, 64, 96)
        )
    spec = SPECS[name]
    assert [m.shape[1] for m in maps] == [spec.stem[2], *spec.stage_out_ch]
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 24), (16, 24), (8, 12), (4, 6), (2, 3)]


def test_state_dict_names() -> None:
    with torch.device("meta"):
        keys = set(VoVNetCP("V-99-eSE").state_dict())
    assert "stem.stem_1/conv.weight" in keys
    assert "stage4.OSA4_3.layers.0.OSA4_3_0/conv.weight" in keys
    assert "stage4.OSA4_3.concat.OSA4_3_concat/norm.running_mean" in keys
    assert "stage5.OSA5_3.ese.fc.weight" in keys and "stage5.OSA5_4.ese.fc.weight" not in keys
    with torch.device("meta"):
        keys = set(VoVNet(SMALL).state_dict())
    assert "stage2.OSA2_1.layers.0.OSA2_1_0/dw_conv3x3.weight" in keys
    assert "stage3.OSA3_1.conv_reduction.OSA3_1_reduction_0/conv.weight" in keys


def test_gate_by_hand() -> None:
    gate = EffectiveSE(2)
    nn.init.zeros_(gate.fc.weight)
    gate.fc.bias.data = torch.tensor([0.0, 10.0])
    out = gate(torch.ones(1, 2, 2, 2))
    assert out[0, :, 0, 0].tolist() == [0.5, 1.0]  # relu6(0 + 3) / 6 and relu6(13) / 6


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_written_side_by_side_are_those_that_are_concatenated(
    layout: torch.memory_format,
) -> None:
    """Without gradients blocks share one workspace: every stage at once, groups of images too."""
    torch.manual_seed(0)
    stages = ("stem", "stage2", "stage3", "stage4", "stage5")
    model = VoVNet("V-39-eSE", out_features=stages).eval().to(memory_format=layout)
    images = torch.randn(3, 3, 64, 96).to(memory_format=layout)
    expected = [m.detach() for m in model(images)]
    with torch.no_grad():
        found = model(images)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(found[1], model(images)[1])  # nothing overwrote what was returned


def test_recomputed_blocks_give_the_same_gradients() -> None:
    torch.manual_seed(0)
    model = VoVNetCP(SMALL, out_features=("stage3",)).train()
    image = torch.randn(2, 3, 32, 32)

    def gradient() -> torch.Tensor:
        model.zero_grad()
        model(image)[0].square().sum().backward()
        return model.stem[0].weight.grad.clone()

    recomputed = gradient()
    model.checkpoint_stages = frozenset()
    torch.testing.assert_close(gradient(), recomputed)


def test_what_is_recomputed_is_not_kept() -> None:
    torch.manual_seed(0)
    model = VoVNetCP(SMALL, out_features=("stage3",)).train()
    image = torch.randn(2, 3, 32, 32)

    def kept() -> int:
        entries = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: entries.append(tensor.numel()), lambda nothing: nothing
        ):
            model(image)
        return sum(entries)

    blocks = {"stage2", "stage3"}
    model.checkpoint_stages = frozenset()
    everything = kept()
    model.checkpoint_stages = frozenset(blocks)
    without_blocks = kept()
    model.checkpoint_stages = frozenset({"stem", *blocks})
    assert kept() < without_blocks / 2 < everything / 2


def test_norms_of_a_recomputed_stem_count_a_batch_once() -> None:
    model = VoVNetCP(SMALL, out_features=("stage2",), norm_eval=False).train()
    model(torch.randn(2, 3, 32, 32))[0].sum().backward()
    counts = [int(m.num_batches_tracked) for m in model.stem.modules() if hasattr(m, "running_var")]
    assert counts == [1, 1, 1]


def test_a_group_goes_through_the_stages_before_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that of the largest maps one group's exist at a time."""
    monkeypatch.setattr(vovnet, "GROUP_BYTES", 1)
    model, order = VoVNet(SMALL, out_features=("stage3", "stage4")).eval(), []
    for name in ("stem", "stage2", "stage3", "stage4"):
        last = getattr(model, name)[-1]
        last.register_forward_hook(lambda *_, name=name: order.append(name))
    with torch.no_grad():
        model(torch.randn(2, 3, 64, 96))
    # All of stage 3 is there before stage 4: it is returned.
    first = ["stem", "stage2", "stage3"]
    assert order == [*first, *first, "stage4", "stage4"]


def test_images_in_groups_give_the_same_maps_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = VoVNetCP(SMALL, out_features=("stage2", "stage5")).train()
    images, sizes = torch.randn(5, 3, 64, 96), []
    model.stage2.OSA2_1.register_forward_hook(lambda module, args, out: sizes.append(len(out)))

    def run(group_bytes: int) -> list[torch.Tensor]:
        monkeypatch.setattr(vovnet, "GROUP_BYTES", group_bytes)
        model.zero_grad()
        sizes.clear()
        maps = model(images)
        in_forward = sizes.copy()
        sum(m.square().sum() for m in maps).backward()
        sizes[:] = in_forward
        return [*maps, model.stem[0].weight.grad.clone()]

    whole = run(1 << 30)
    assert sizes == [5]
    for group_bytes, expected in ((1, [1] * 5), (2 * 16 * 24 * 4 * 304, [2, 2, 1])):
        torch.testing.assert_close(run(group_bytes), whole, rtol=1e-4, atol=1e-5)
        assert sizes == expected
    model.norm_eval = False
    model.train()  # batch statistics are of all images
    run(1)
    assert sizes == [5]


def test_an_exported_backbone_takes_large_images_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = VoVNetCP(SMALL, out_features=("stage2", "stage5")).eval()
    images = torch.randn(5, 3, 64, 96)
    expected, convolutions = model(images), []
    for limit in (1 << 30, 1):
        monkeypatch.setattr(vovnet, "EXPORTED_GROUP_BYTES", limit)
        program = torch.export.export(model, (images,))
        convolutions.append(sum("conv2d" in str(node.target) for node in program.graph.nodes))
        torch.testing.assert_close(program.module()(images), expected, rtol=1e-4, atol=1e-5)
    assert convolutions[1] == 5 * convolutions[0]


def test_frozen_stages_and_norms() -> None:
    model = VoVNet(SMALL, frozen_stages=1, norm_eval=False).train()
    assert not any(p.requires_grad for p in [*model.stem.parameters(), *model.stage2.parameters()])
    assert all(p.requires_grad for p in model.stage3.parameters())
    assert not model.stage2.training and model.stage3.training
    norms = [m for m in VoVNet(SMALL).train().modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)


def test_unknown_names() -> None:
    with pytest.raises(UserError, match="unknown VoVNet spec_name 'V-100'"):
        VoVNet("V-100")
    with pytest.raises(UserError, match="stage6"):
        VoVNet(SMALL, out_features=("stage6",))
    with pytest.raises(UserError, match="num_outs=3"):
        CPFPN([4, 8], 4, num_outs=3)


@pytest.mark.parametrize("kind, convs", [(CPFPN, 1), (FPN, 2)])
def test_pyramid_sums_by_hand(kind: type[FPN], convs: int) -> None:
    neck = kind([1, 1], 1, num_outs=2)
    assert len(neck.fpn_convs) == convs
    for module in neck.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight)
            nn.init.zeros_(module.bias)
    fine, coarse = neck([torch.ones(1, 1, 2, 4), torch.tensor([[[[10.0, 20.0]]]])])
    assert fine[0, 0].tolist() == [[11.0, 11.0, 21.0, 21.0]] * 2
    assert coarse[0, 0].tolist() == [[10.0, 20.0]]
