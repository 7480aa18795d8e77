"""Batches: collation, worker processes, configuration sections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Subset

from pftrack.datasets.build import build_dataset
from pftrack.datasets.collate import collate_clips
from pftrack.errors import UserError
from pftrack.structures import ClipBatch, normalize_images

IDA = {"final_dim": (72, 184), "H": 225, "W": 400, "resize_lim": (0.47, 0.6)}


@pytest.fixture(scope="module")
def cfg(demo_data: Path, demo_infos: dict[str, Path]) -> dict[str, Any]:
    def section(split: str) -> dict[str, Any]:
        return {
            "type": "NuScenesTrackingDataset",
            "ann_file": demo_infos[split],
            "data_root": demo_data,
            "ida_aug_conf": IDA,
        }

    train = section("train") | {"num_frames_per_sample": 2}
    return {"data": {"workers_per_gpu": 0, "train": train, "val": section("val")}}


def test_batches_are_stacked_clips(cfg: dict[str, Any]) -> None:
    dataset = build_dataset(cfg, "train")
    samples = [dataset[i] for i in (1, 4)]
    batch = collate_clips(samples)
    assert batch.img.shape == (2, 2, 6, 3, 96, 192) and batch.img.dtype == torch.uint8
    assert batch.batch_size == 2 and batch.num_frames == 2
    assert batch.lidar2img.dtype == torch.float64 and batch.l2g.dtype == torch.float32
    assert torch.equal(batch.img[1, 0].permute(0, 2, 3, 1), samples[1].img[0])
    assert [len(clip) for clip in batch.targets] == [2, 2]
    assert batch.sample_tokens == [s.sample_tokens for s in samples]
    # The images of a clip are one channels-last batch without a copy.
    flat = batch.img.flatten(0, 2)
    assert flat.is_contiguous(memory_format=torch.channels_last)
    assert flat.data_ptr() == batch.img.data_ptr()


def test_normalised_batches_are_zero_in_the_padding(cfg: dict[str, Any]) -> None:
    dataset = build_dataset(cfg, "val")
    batch = collate_clips([dataset[0]])
    normalised = batch.normalized()
    assert normalised.img.dtype == torch.float32
    assert not normalised.img[..., 72:, :].any() and not normalised.img[..., 184:].any()
    pixel = batch.img[0, 0, 2, :, 10, 20].float()
    expected = (pixel - torch.tensor(batch.mean)) / torch.tensor(batch.std)
    torch.testing.assert_close(normalised.img[0, 0, 2, :, 10, 20], expected)


def loader_of(dataset: Any, workers: int) -> DataLoader[ClipBatch]:
    return DataLoader(dataset, num_workers=workers, collate_fn=collate_clips)


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_keeps_order_and_contents(cfg: dict[str, Any], workers: int) -> None:
    dataset = build_dataset(cfg, "val")
    batches = list(loader_of(Subset(dataset, [3, 4, 5]), workers))
    assert [b.sample_tokens[0][0] for b in batches] == [
        dataset.infos[i]["token"] for i in (3, 4, 5)
    ]
    for batch, index in zip(batches, (3, 4, 5), strict=True):
        assert torch.equal(batch.img[0].permute(0, 1, 3, 4, 2), dataset[index].img)
        assert batch.targets == [[]]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (None, "no 'data.val'"),
        ({"type": "KittiDataset"}, "unknown dataset 'KittiDataset'"),
        ({"type": "NuScenesTrackingDataset"}, "ann_file"),
        ({"type": "NuScenesTrackingDataset", "ann_file": "none.pkl"}, "ida_aug_conf"),
        (
            {"type": "NuScenesTrackingDataset", "ann_file": "none.pkl", "ida_aug_conf": IDA},
            r"no info file none\.pkl",
        ),
    ],
)
def test_mistakes_in_the_section_are_named(section: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_dataset({"data": {"val": section}}, "val")


def test_user_errors_in_workers_are_told_apart(cfg: dict[str, Any], tmp_path: Path) -> None:
    loader = loader_of(build_dataset(cfg, "val", data_root=tmp_path), workers=1)
    with pytest.raises(UserError, match="no image") as caught:
        next(iter(loader))
    assert str(caught.value).startswith("no image") and "\n" not in str(caught.value)


@pytest.mark.slow
def test_mmdet3d_builds_our_dataset(cfg: dict[str, Any]) -> None:
    mmdet3d_datasets = pytest.importorskip("mmdet3d.datasets")
    import pftrack.compatibility.mmdet3d_datasets  # noqa: F401

    dataset = mmdet3d_datasets.build_dataset(dict(cfg["data"]["val"], test_mode=True))
    assert type(dataset).__name__ == "NuScenesTrackingDataset" and len(dataset) == 6


def test_normalising_leaves_its_images_as_they_are() -> None:
    for dtype in (torch.uint8, torch.float32):
        images = torch.full((1, 3, 4, 6), 100, dtype=dtype)
        normal = normalize_images(images, (3, 5), (100.0, 99.0, 98.0), (1.0, 2.0, 4.0))
        assert (images == 100).all() and normal.dtype == torch.float32
        assert normal[0, :, 2, 4].tolist() == [0.0, 0.5, 0.5]
        assert not normal[..., 3, :].any() and not normal[..., 5].any()


def test_normalising_is_the_same_in_every_layout_and_precision() -> None:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 5, 7, 3), generator=draw, dtype=torch.uint8).movedim(-1, -3)
    mean, std = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
    scale = torch.tensor([1 / s for s in std])[:, None, None]
    expected = (images.float() - torch.tensor(mean)[:, None, None]) * scale
    for given in (images, images.contiguous(), images.float()):
        assert torch.equal(normalize_images(given, (5, 7), mean, std), expected)
    double = normalize_images(images.double(), (5, 7), mean, std)
    assert double.dtype == torch.float64 and torch.allclose(double.float(), expected, atol=1e-6)
