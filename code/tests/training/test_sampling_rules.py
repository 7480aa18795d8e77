"""What a training draws at random, against the original's rules: distributions, not draws.

Kolmogorov-Smirnov and chi-square tests with fixed seeds; a rule that is broken has p below 1e-9.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pftrack.datasets.augmentation import draw_augmentation
from pftrack.datasets.image_config import AugmentationConfig
from pftrack.datasets.nuscenes_tracking_dataset import NuScenesTrackingDataset
from pftrack.datasets.packed_infos import PackedInfos
from pftrack.errors import UserError
from pftrack.models.layers.grid_mask import GridMask
from pftrack.training.sampler import ResumableSampler

pytestmark = pytest.mark.slow
DRAWS = 4000
LIKELY = 1e-3


def same_distribution(a: Any, b: Any) -> bool:
    from scipy import stats

    return stats.ks_2samp(np.asarray(a), np.asarray(b)).pvalue > LIKELY


def uniform_counts(values: Any, count: int) -> bool:
    from scipy import stats

    return stats.chisquare(np.bincount(values, minlength=count)).pvalue > LIKELY


def likely_count(count: int, draws: int, probability: float) -> bool:
    from scipy import stats

    return stats.binomtest(count, draws, probability).pvalue > LIKELY


@pytest.mark.parametrize("flip", [True, False])
def test_resize_crop_and_flip(flip: bool) -> None:
    """Resize uniform; crop at the bottom, its left edge a truncated uniform draw; flip a coin."""
    conf = AugmentationConfig((320, 800), resize_lim=(0.47, 0.625), rand_flip=flip)
    random = np.random.RandomState(0)
    drawn = [draw_augmentation(conf, random) for _ in range(DRAWS)]
    rule = np.random.default_rng(1)
    resize = rule.uniform(0.47, 0.625, DRAWS)
    free = np.maximum((1600 * resize).astype(int) - 800, 0)
    left = rule.uniform(0, free).astype(int)
    assert same_distribution([a.resize for a in drawn], resize)
    assert same_distribution([a.crop[0] for a in drawn], left)
    assert all(a.crop[1] == int(900 * a.resize) - 320 for a in drawn)
    assert all(a.rotate == 0 for a in drawn)
    # The left edge depends on the resize as in the rule: halves of the range on their own.
    wide = resize > 0.55
    assert same_distribution([a.crop[0] for a in drawn if a.resize > 0.55], left[wide])
    flips = sum(a.flip for a in drawn)
    assert likely_count(flips, DRAWS, 0.5) if flip else flips == 0


def rule_of_grid_mask(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Kept pixels: full stripes of a random period, ratio 0.5, along both axes, on a mask of 1.5
    times the size of which the centre is cut out; inside a stripe the image is kept (mode 1)."""
    period = int(random.integers(2, height))
    stripe = min(max(int(period * 0.5 + 0.5), 1), period - 1)
    start_row, start_column = random.integers(period, size=2)
    tall, broad = int(1.5 * height), int(1.5 * width)
    keep = np.zeros((tall, broad), bool)
    for i in range(tall // period):
        keep[period * i + start_row : period * i + start_row + stripe] = True
    for i in range(broad // period):
        keep[:, period * i + start_column : period * i + start_column + stripe] = True
    top, left = (tall - height) // 2, (broad - width) // 2
    return keep[top : top + height, left : left + width]


def test_grid_mask_covers_as_much_as_often() -> None:
    """Share of masked calls 0.7, share of kept pixels as in the rule, stripes along both axes."""
    mask = GridMask().train()
    images = torch.ones(3, 32, 80)
    torch.manual_seed(0)
    results = [mask(images)[0].bool().numpy() for _ in range(DRAWS)]
    masked = [r for r in results if not r.all()]
    rule = np.random.default_rng(1)
    expected = [rule_of_grid_mask(rule, 32, 80) for _ in range(DRAWS)]
    empty = np.mean([m.all() for m in expected])
    assert likely_count(len(masked), DRAWS, 0.7 * (1 - empty))
    assert same_distribution(
        [m.mean() for m in masked], [m.mean() for m in expected if not m.all()]
    )
    for kept in masked[:200]:  # not rotated: whole rows and whole columns are kept
        rows, columns = kept.all(1), kept.all(0)
        assert np.array_equal(kept, rows[:, None] | columns[None])


def with_empty_frames(dataset: NuScenesTrackingDataset, empty: set[int]) -> NuScenesTrackingDataset:
    """A copy whose frames ``empty`` have no valid ground truth."""
    infos = [copy.deepcopy(info) for info in dataset.infos]
    for i in empty:
        infos[i]["valid_flag"] = np.zeros_like(infos[i]["valid_flag"])
    changed = copy.copy(dataset)
    changed.infos = PackedInfos(infos)
    return changed


@pytest.fixture(scope="module")
def dataset(demo_data: Path, demo_infos: dict[str, Path]) -> NuScenesTrackingDataset:
    """Clips of two frames of one scene of six; decoding nothing."""
    ida = {"final_dim": (32, 64), "H": 225, "W": 400, "resize_lim": (0.2, 0.3)}
    return NuScenesTrackingDataset(
        demo_infos["train"], demo_data, num_frames_per_sample=2, ida_aug_conf=ida
    )


def test_clips_with_a_frame_without_ground_truth_are_replaced(
    dataset: NuScenesTrackingDataset,
) -> None:
    """By any other clip whose frames all have some, each as likely; the others stay themselves."""
    changed = with_empty_frames(dataset, {2})
    tokens = [info["token"] for info in dataset.infos]
    for index in (0, 1, 4, 5):
        infos, targets = changed._clip(index, np.random.RandomState(0))
        assert infos[-1]["token"] == tokens[index] and all(len(t) for t in targets)
    drawn = []
    for epoch in range(1000):
        changed.set_epoch(epoch)
        infos, targets = changed._clip(2 + epoch % 2, np.random.RandomState([0, epoch]))
        assert all(len(t) for t in targets)
        drawn.append([0, 1, 4, 5].index(tokens.index(infos[-1]["token"])))
    assert uniform_counts(drawn, 4)
    assert changed[2].sample_tokens[-1] != tokens[2]


def test_clips_without_ground_truth_at_all(dataset: NuScenesTrackingDataset) -> None:
    changed = with_empty_frames(dataset, set(range(6)))
    with pytest.raises(UserError, match=r"no clip of .* has ground truth in every frame"):
        changed[0]
    changed.filter_empty_gt = False
    assert [len(frame) for frame in changed[0].targets] == [0, 0]


@pytest.mark.parametrize(
    ("samples", "batch", "ranks"), [(24, 1, 1), (23, 2, 1), (22, 1, 4), (3, 2, 4)]
)
def test_every_epoch_visits_all_samples_shuffled(samples: int, batch: int, ranks: int) -> None:
    """One group, padded to whole batches on every process, with the first of its own order."""
    samplers = [ResumableSampler(samples, batch, 0, rank, ranks) for rank in range(ranks)]
    first = []
    for epoch in range(400):
        for sampler in samplers:
            sampler.set_position(epoch)
        visited = np.array([list(sampler) for sampler in samplers])
        assert visited.shape == (ranks, -(-samples // (batch * ranks)) * batch)
        counts = np.bincount(visited.ravel(), minlength=samples)
        assert counts.min() >= 1 and counts.max() - counts.min() <= 1
        first.append(visited[0, 0])
    assert uniform_counts(first, samples)
